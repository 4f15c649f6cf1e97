"""Fetch the jars of an ``ivy.xml`` with the Ivy that PySpark ships, and let no other byte in than SHA256SUMS names.

The two files lie in one folder, the list: this one, or ``tests/jars`` for what only tests need.

LakemillError
└── JarsError
    ├── JarMismatchError     a file differs from the checked-in hash
    └── JarDownloadError     Ivy could not fetch something
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from contracts.problems import LakemillError

HERE = Path(__file__).parent
SUMS_NAME = "SHA256SUMS"
SUMS_FILE = HERE / SUMS_NAME
_IVY_SECONDS = 900


class JarsError(LakemillError):
    """The jars are not complete and as checked in."""


class JarMismatchError(JarsError):
    """A jar's content is not what SHA256SUMS names."""


class JarDownloadError(JarsError):
    """The repository cannot be reached, or lacks a file."""


def read_sums(path: Path = SUMS_FILE) -> dict[str, str]:
    """Return ``{"spark/name.jar": sha256}`` as checked in (the format of ``sha256sum``)."""
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line)
    return {name: digest for digest, name in lines}


def present_sums(folder: Path) -> dict[str, str]:
    """Return the same mapping for the jars that lie below ``folder``."""
    return {
        str(jar.relative_to(folder)): hashlib.sha256(jar.read_bytes()).hexdigest()
        for jar in sorted(folder.glob("*/*.jar"))
    }


def differences(wanted: Mapping[str, str], present: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence for each jar that is missing, unknown or different."""
    for name in sorted(wanted.keys() | present.keys()):
        if name not in present:
            yield f"{name} is missing"
        elif name not in wanted:
            yield f"{name} is not in SHA256SUMS"
        elif wanted[name] != present[name]:
            yield f"{name} has SHA-256 {present[name][:12]}… instead of {wanted[name][:12]}…"


def ensure_jars(
    folder: Path, java: Path, *, mirror: str | None = None, only: str | None = None, listed: Path = HERE
) -> bool:
    """Make ``folder`` (``spark/`` and ``broker/``) hold exactly the checked-in jars; True when it had to fetch them.

    ``mirror`` is the address of a Maven repository to use instead of Maven Central; ``only`` is one of the two folders;
    ``listed`` is the list.

    Raises JarMismatchError, leaving ``folder`` as it was, when a fetched jar differs; JarDownloadError without network.
    """
    wanted = {
        name: digest for name, digest in read_sums(listed / SUMS_NAME).items() if only in {None, name.split("/")[0]}
    }
    if not list(differences(wanted, present_sums(folder))):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="jars-") as scratch:
        fetched = run_ivy(Path(scratch), java, mirror=mirror, only=only, listed=listed)
        wrong = list(differences(wanted, present_sums(fetched)))
        if wrong:
            raise JarMismatchError(
                f"The jars from {mirror or 'Maven Central'} are not the ones checked in ({'; '.join(wrong[:3])}). "
                "Nothing was installed. Try another network or --mirror; if ivy.xml was changed on purpose, "
                "renew SHA256SUMS."
            )
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)
    return True


def run_ivy(
    scratch: Path, java: Path, *, mirror: str | None = None, only: str | None = None, listed: Path = HERE
) -> Path:
    """Fetch every jar into ``scratch/out/{spark,broker}`` and return that folder. Raises JarDownloadError."""
    out = scratch / "out"
    source = mirror or "Maven Central"
    command = [
        str(java),
        f"-Dlakemill.cache={scratch / 'cache'}",
        f"-Dlakemill.resolver={'mirror' if mirror else 'central'}",
        *([f"-Dlakemill.mirror={mirror.rstrip('/')}/"] if mirror else []),
        *("-jar", str(ivy_jar())),
        *("-settings", str(HERE / "ivysettings.xml")),
        *("-ivy", str(listed / "ivy.xml")),
        *("-retrieve", f"{out}/[conf]/[artifact]-[revision](-[classifier]).[ext]"),
        *("-types", "jar", "bundle"),
        *(("-confs", only) if only else ()),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_IVY_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise JarDownloadError(f"{source} did not deliver within {_IVY_SECONDS} s: try again.") from error
    if done.returncode != 0:
        said = [line.strip() for line in done.stdout.splitlines() if "UNRESOLVED" in line or "FAILED" in line]
        reason = "; ".join(said[:3]) or (done.stdout + done.stderr).strip()[-300:]
        raise JarDownloadError(
            f"The jars cannot be fetched from {source}: {reason}. "
            "Check the network (Java reads a proxy from JAVA_TOOL_OPTIONS), or name a mirror with --mirror."
        )
    return out


def ivy_jar() -> Path:
    """Return the Ivy jar that PySpark ships. Raises JarsError when PySpark is not installed."""
    spec = find_spec("pyspark")
    found = sorted(Path(spec.origin).parent.glob("jars/ivy-*.jar")) if spec and spec.origin else []
    if not found:
        raise JarsError("PySpark is not installed, so there is no Ivy to fetch jars with: run 'make setup'.")
    return found[-1]
