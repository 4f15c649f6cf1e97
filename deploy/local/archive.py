"""A class-data archive (AppCDS) for Spark's JVM: the classes that a run loads are mapped instead of parsed.

Made once, from a real small job against a real S3 server. A JVM that it does not fit ignores it.
"""

import hashlib
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from contracts.problems import LakemillError
from deploy.jars.retrieve import SUMS_FILE
from deploy.local.environment import inherited
from deploy.local.ports import find_base_port
from deploy.local.site import ROOT
from deploy.local.stack import Stack

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
    with tempfile.TemporaryDirectory(prefix="lakemill-archive-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Path(folder), find_base_port(), jars_dir=jars_dir)
        stack.start(only={"s3"})
        try:
            _train(stack, archive)
        finally:
            stack.stop()
    key.write_text(wanted)
    return True


def _train(stack: Stack, archive: Path) -> None:
    command = [sys.executable, "-m", "deploy.local.training", str(archive)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=inherited(stack.env()),
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
