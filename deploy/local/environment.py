"""The stack's one file of secrets and addresses, and what each server inherits from the environment."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from deploy.local.ports import HOST, PortBlock
from resources.settings import DirectTopicSettings

ENV_FILE = "lakemill.env"
_SECRETS = {
    "LAKEMILL_INTERNAL_SECRET": 32,
    "LAKEMILL_S3_ACCESS_KEY": 10,
    "LAKEMILL_S3_SECRET_KEY": 24,
    "LAKEMILL_SUPERUSER_PASSWORD": 24,
    "LAKEMILL_DATABASE_PASSWORD": 24,
    "LAKEMILL_DAGSTER_PASSWORD": 24,
    "LAKEMILL_READER_PASSWORD": 24,
}
_YOURS = ("LAKEMILL_SCHEDULE_KEYS",)
"""What an operator adds to the file by hand."""
_PASSWORDS = frozenset(name for name in _SECRETS if name.endswith("_PASSWORD"))


def read_env(state_dir: Path) -> dict[str, str]:
    """Return what the file holds; empty when there is none."""
    try:
        lines = (state_dir / ENV_FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def write_env(state_dir: Path, ports: PortBlock, jars_dir: Path) -> dict[str, str]:
    """Write the file (mode 0600) and return its content. Secrets that exist are kept; addresses follow the ports.

    What an operator has added stays too, where it is one of ``_YOURS``.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    known = read_env(state_dir)
    made = {name: known.get(name) or secrets.token_hex(size) for name, size in _SECRETS.items()}
    yours = {name: known[name] for name in _YOURS if name in known}
    content = made | yours | addresses(made, ports, jars_dir) | _direct_topics(state_dir)
    whole = state_dir / f"{ENV_FILE}.new"
    whole.unlink(missing_ok=True)
    whole.touch(mode=0o600)
    whole.write_text("# Made by 'lakemill up'; secrets stay the same until 'lakemill down --purge'.\n" + lines(content))
    whole.replace(state_dir / ENV_FILE)
    return content


def addresses(made: Mapping[str, str], ports: PortBlock, jars_dir: Path) -> dict[str, str]:
    """Return where everything is, as the variables of ``resources.settings``."""
    postgres = ports.address("postgres")
    return {
        "LAKEMILL_BASE_PORT": str(ports.base),
        "LAKEMILL_HOST": ports.host,
        "LAKEMILL_API_URL": f"http://{ports.address('api')}",
        "LAKEMILL_DAGSTER_URL": f"http://{ports.address('webserver')}",
        "LAKEMILL_DATABASE_URL": f"postgresql+asyncpg://lakemill:{made['LAKEMILL_DATABASE_PASSWORD']}@{postgres}/lakemill",
        "LAKEMILL_DAGSTER_DATABASE_URL": (
            f"postgresql+asyncpg://lakemill_reader:{made['LAKEMILL_READER_PASSWORD']}@{postgres}/dagster"
        ),
        "LAKEMILL_KAFKA_BOOTSTRAP": ports.address("kafka"),
        "LAKEMILL_S3_ENDPOINT": f"http://{ports.address('s3')}",
        "LAKEMILL_CALLBACK_ALLOW": "127.0.0.0/8",
        "LAKEMILL_JARS_DIR": str(jars_dir / "spark"),
        "LAKEMILL_SPARK_ARCHIVE": str(jars_dir / "spark.jsa"),
    }


def _direct_topics(state_dir: Path) -> dict[str, str]:
    """Return what the shell says of direct topics, else what the file says. Raises pydantic's ValidationError."""
    topics = DirectTopicSettings(_env_file=state_dir / ENV_FILE).direct_topics
    listed = ",".join(f"{topic}={tenant}" for topic, tenant in topics.items())
    return {"LAKEMILL_DIRECT_TOPICS": listed} if listed else {}


def lines(content: Mapping[str, str]) -> str:
    """Return ``NAME=value`` lines."""
    return "".join(f"{name}={value}\n" for name, value in content.items())


def inherited(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server: this process's own, without foreign settings, plus ``variables``.

    Foreign LAKEMILL_ and DAGSTER_ variables would point a server elsewhere, PYTHONDONTWRITEBYTECODE would make every
    start recompile our modules, and a proxy must not come between servers of one machine.
    """
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAKEMILL_", "DAGSTER_", "AWS_", "PG")) and name != "PYTHONDONTWRITEBYTECODE"
    }
    shown = {name: value for name, value in variables.items() if name not in _PASSWORDS}
    hosts = (own.get("no_proxy") or own.get("NO_PROXY"), variables.get("LAKEMILL_HOST"), HOST, "localhost")
    no_proxy = ",".join(part for part in hosts if part)
    return own | {"NO_PROXY": no_proxy, "no_proxy": no_proxy, "PYTHONUNBUFFERED": "1"} | shown


def java_home() -> str | None:
    """Return JAVA_HOME as this process sees it."""
    return os.environ.get("JAVA_HOME")
