"""The two images as they are written down: what gets into them, from where, and as whom they run."""

import re
import tomllib
from pathlib import Path

import pytest

from assets.profiles import IMAGES_FILE, PROFILES_FILE
from orchestration.schedule_file import SCHEDULES_FILE
from tests.test_architecture import ROOT

IMAGES = ROOT / "deploy" / "images"
LOCKS = ("control", "compute", "training")
DOCKERFILES = ("control", "compute")
Pins = dict[str, frozenset[str]]


def pins(path: Path) -> Pins:
    """Return ``name==version`` → hashes of a lock; extras are packages of their own there."""
    found: Pins = {}
    for entry in path.read_text().replace("\\\n", " ").splitlines():
        named, *hashes = entry.split("--hash=")
        found[re.sub(r"\[.*?\]|;.*|\s", "", named)] = frozenset(each.strip() for each in hashes)
    return found


def instructions(name: str) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions, in order, each with its arguments on one line."""
    text = re.sub(r"^#.*\n", "", (IMAGES / f"{name}.Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word.upper(), " ".join(rest.split())) for word, rest in lines]


def last_stage(name: str) -> list[tuple[str, str]]:
    found = instructions(name)
    return found[max(place for place, (word, _) in enumerate(found) if word == "FROM") :]


def allowed() -> set[str]:
    """Return what .dockerignore lets into the build."""
    first, *rest = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    return {line[1:] for line in rest if line.startswith("!")}


@pytest.mark.parametrize("name", LOCKS)
def test_an_image_gets_what_is_tested_byte_for_byte(name: str) -> None:
    image, tested = pins(IMAGES / f"{name}.lock"), pins(ROOT / "requirements.lock")
    assert image.keys() <= tested.keys()
    assert all(len(hashes) > 0 and hashes == tested[pin] for pin, hashes in image.items())
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][^= ]*", pin) for pin in image)


@pytest.mark.parametrize("name", [*(f"deploy/images/{name}.lock" for name in LOCKS), "requirements.lock"])
def test_a_lock_names_no_address(name: str) -> None:
    assert not re.search(r"://|--(extra-)?index|--find-links|--trusted-host|@ ", (ROOT / name).read_text())


def test_the_control_plane_has_no_dagster_no_spark_and_no_client_of_kubernetes() -> None:
    names = {pin.partition("==")[0] for pin in pins(IMAGES / "control.lock")}
    assert {"fastapi", "uvicorn", "asyncpg", "alembic"} <= names
    assert not [name for name in names if re.match(r"dagster|pyspark|py4j|pyarrow|kubernetes|seaweedfs", name)]
    assert not re.search(r"openjdk|-jre", (IMAGES / "control.Dockerfile").read_text())


def test_the_store_that_trains_the_class_archive_stays_behind() -> None:
    assert not [pin for pin in pins(IMAGES / "compute.lock") if pin.startswith("seaweedfs")]
    assert not [rest for _, rest in last_stage("compute") if "training.lock" in rest]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_built_in_stages_from_a_named_version(name: str) -> None:
    found = instructions(name)
    stages = [rest.split()[-1] for word, rest in found if word == "FROM"]
    sources = {rest.split()[0] for word, rest in found if word == "FROM"}
    assert len(stages) > 1
    assert sources <= {"${BASE}", *stages}
    ((base, version),) = [rest.split("=")[1].rsplit(":", 1) for word, rest in found if rest.startswith("BASE=")]
    assert base.startswith("docker.io/")
    assert re.match(r"3\.11-", version)
    assert "latest" not in (IMAGES / f"{name}.Dockerfile").read_text()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_package_is_checked_against_its_hash(name: str) -> None:
    installs = [rest for word, rest in instructions(name) if word == "RUN" and "pip install" in rest]
    assert installs
    for command in installs:
        assert command.count("pip install") == 1
        assert re.search(r"--require-hashes --no-deps -r \S+\.lock( |$)", command)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_ends_as_a_numbered_user_and_says_what_it_is(name: str) -> None:
    stage = last_stage(name)
    assert [rest for word, rest in stage if word == "USER"] == ["10001:10001"]
    assert {word for word, _ in stage[[word for word, _ in stage].index("USER") :]} <= {"USER", "ENTRYPOINT", "CMD"}
    labels = " ".join(rest for word, rest in stage if word == "LABEL")
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels)) == {
        "title",
        "version",
        "revision",
        "licenses",
    }


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_secret_gets_into_an_image(name: str) -> None:
    for word, rest in instructions(name):
        if word in {"ARG", "ENV"}:
            assert not re.search(r"secret|password|token|credential|_key", rest, re.IGNORECASE), rest
        assert word != "ADD"  # it fetches, and it unpacks


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_is_let_in_and_there(name: str) -> None:
    for word, rest in instructions(name):
        if word == "COPY" and not rest.startswith("--from="):
            source = rest.split()[0]
            assert source == "." or (ROOT / source).exists()
            assert source == "." or any(is_within(source, entry) or is_within(entry, source) for entry in allowed())


def is_within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


def test_only_what_is_named_gets_into_a_build() -> None:
    found = allowed()
    assert not [name for name in found if re.search(r"[*?\[]", name)]
    assert all((ROOT / name).exists() for name in found)
    assert not {name.split("/")[0] for name in found} & {"tests", "bench", "docs", ".git", ".ci", ".venv", ".lakemill"}
    assert not found & {"deploy", "deploy/chart", "deploy/templates"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages <= {name.split("/")[0] for name in found}
    assert (ROOT / ".dockerignore").read_text().split()[-1] == "**/__pycache__"


def test_what_the_code_location_reads_beside_its_modules_is_let_in() -> None:
    files = {str(path.relative_to(ROOT)) for path in (PROFILES_FILE, IMAGES_FILE, SCHEDULES_FILE)}
    assert files <= allowed()
