"""What an image runs with. Runs in this process and, as text, in a pod of another image: standard library only.

``python facts.py [JARS_DIR]`` prints one JSON object on one line.
"""

import hashlib
import importlib.util
import json
import pathlib
import platform
import re
import shutil
import subprocess
import sys


def facts(jars_dir: str) -> dict[str, object]:
    """Return versions of Python, PySpark, Hadoop and Java as an executor would find them, and SHA-256 of each jar."""
    spec = importlib.util.find_spec("pyspark")
    home = pathlib.Path(spec.origin).parent if spec and spec.origin else None
    # Spark's own jars and ours must be of one Hadoop: S3A is made of both.
    hadoop = sorted(home.glob("jars/hadoop-client-api-*.jar")) if home else []
    jars = sorted(pathlib.Path(jars_dir).glob("*.jar"))
    return {
        "python": platform.python_version(),
        "pyspark": _pyspark(home),
        "hadoop": _version(hadoop[0].name) if hadoop else None,
        "hadoop_aws": next((_version(jar.name) for jar in jars if jar.name.startswith("hadoop-aws-")), None),
        "java": _java(),
        "jars": {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in jars},
    }


def _pyspark(home: "pathlib.Path | None") -> "str | None":
    # Read, not imported: importing Spark takes a second.
    source = (home / "version.py").read_text() if home else ""
    found = re.search(r"__version__[^=]*= ['\"]([^'\"]+)", source)
    return found.group(1) if found else None


def _version(jar: str) -> "str | None":
    found = re.search(r"-(\d[\w.]*)\.jar$", jar)
    return found.group(1) if found else None


def _java() -> "str | None":
    java = shutil.which("java")
    if java is None:
        return None
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr  # noqa: S603
    found = re.search(r'version "([^"]+)"', told)
    return found.group(1) if found else None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(facts(sys.argv[1] if len(sys.argv) > 1 else "jars")) + "\n")
