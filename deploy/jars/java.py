"""The Java runtime: found on the PATH or by JAVA_HOME, and new enough."""

import re
import shutil
import subprocess
from pathlib import Path

from contracts.problems import LakemillError

MINIMUM = 17
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


class JavaMissingError(LakemillError):
    """There is no Java runtime, or it is too old."""


def find_java(java_home: str | None = None, search_path: str | None = None) -> Path:
    """Return the path of a ``java`` of version 17 or newer; ``search_path`` replaces the PATH.

    Raises JavaMissingError with what to install.
    """
    places = str(Path(java_home) / "bin") if java_home else search_path
    found = shutil.which("java", path=places)
    wanted = f"Lakemill needs a Java {MINIMUM} (or newer) runtime"
    install = "install one, for example 'apt-get install openjdk-17-jre-headless', or point JAVA_HOME to it"
    if found is None:
        where = f"no 'java' in JAVA_HOME ({java_home})" if java_home else "no 'java' on the PATH"
        raise JavaMissingError(f"{wanted}, but there is {where}: {install}.")
    version = java_version(Path(found))
    if version is None or version < MINIMUM:
        raise JavaMissingError(f"{wanted}, but {found} is {version or 'of an unknown version'}: {install}.")
    return Path(found)


def java_version(java: Path) -> int | None:
    """Return the major version that ``java -version`` states (8, 17, 21 …); None when it does not say one."""
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60)
    stated = _VERSION.search(answer.stderr + answer.stdout)
    return int(stated.group(1)) if stated else None
