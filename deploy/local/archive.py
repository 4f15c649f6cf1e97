"""A class-data archive (AppCDS) for Spark's JVM: the classes that a run loads are mapped instead of parsed.

``python -m deploy.local.archive JARS_DIR`` makes it while an image is built.

Made once, from a real small job against a real S3 server. A JVM that it does not fit ignores it.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from contracts.problems import LakemillError
from deploy.jars.java import find_java
from deploy.jars.retrieve import SUMS_FILE
from deploy.local.environment import inherited, java_home, write_env
from deploy.local.ports import PortBlock, find_base_port
from deploy.local.records import Records
from deploy.local.s3 import s3_server
from deploy.local.server import Logs
from deploy.local.site import ROOT, Site
from deploy.local.starting import Starter
from deploy.local.stopping import stop_all

_TRAINING_SECONDS = 600


class ArchiveError(LakemillError):
    """The archive could not be made. Runs work without it; they start slower."""


def ensure_archive(jars_dir: Path, java: Path) -> bool:
    """Make ``jars_dir/spark.jsa`` for this Java, PySpark and jars; True when it had to. Raises ArchiveError."""
    archive, key = jars_dir / "spark.jsa", jars_dir / "spark.jsa.key"
    wanted = _key(java)
    if archive.exists() and key.exists() and key.read_text() == wanted:
        return False
    archive.unlink(missing_ok=True)
    scratch = tempfile.TemporaryDirectory(prefix="lakemill-archive-", ignore_cleanup_errors=True)
    with scratch as folder, _s3(Path(folder), jars_dir, java) as variables:
        _train(variables, archive)
    key.write_text(wanted)
    return True


@contextmanager
def _s3(folder: Path, jars_dir: Path, java: Path) -> Iterator[Mapping[str, str]]:
    """Yield the variables of an S3 server that is there for the block: all that an image build has of the stack."""
    ports, records = PortBlock(find_base_port()), Records(folder)
    variables = {**write_env(folder, ports, jars_dir), "LAKEMILL_STATE_DIR": str(folder)}
    children: dict[str, subprocess.Popen[bytes]] = {}
    env = inherited({**variables, "LAKEMILL_STACK": str(folder)})
    starter = Starter(records, Logs(folder / "logs"), env, children, lambda _: None)

    def reap() -> None:
        for child in children.values():
            child.poll()

    try:
        starter.start(s3_server(Site(folder, jars_dir, ports, variables, java)))
        yield variables
    finally:
        stop_all(records, folder, reap=reap)


def _train(variables: Mapping[str, str], archive: Path) -> None:
    command = [sys.executable, "-m", "deploy.local.training", str(archive)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=inherited(variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=_TRAINING_SECONDS,
    )
    if done.returncode != 0 or not archive.exists():
        raise ArchiveError(f"Spark's class archive could not be made: {done.stderr.strip()[-500:]}")


def _key(java: Path) -> str:
    stated = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    facts = f"{stated}\n{version('pyspark')}\n{SUMS_FILE.read_text()}\n{ROOT}"
    return hashlib.sha256(facts.encode()).hexdigest()


if __name__ == "__main__":
    ensure_archive(Path(sys.argv[1]), find_java(java_home()))
