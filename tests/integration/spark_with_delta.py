"""A Spark with Delta in a process of its own, started as docs/reading-snapshots.md says: it never heard of us.

``answers`` gives it the page's snippets to run, then statements; each is answered by a table, or by the text of an
error.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import feather

from deploy.jars.java import find_java
from deploy.jars.retrieve import ensure_jars
from deploy.local.environment import java_home
from deploy.local.site import ROOT
from tests.kafka_server import JARS

DELTA_JARS = ROOT / ".lakemill" / "test-jars"
_LIST = ROOT / "tests" / "jars"
_SECONDS = 420
_ORDER = "order.json"
_SMALL = (
    "spark.master=local[2]",
    "spark.ui.enabled=false",
    "spark.ui.showConsoleProgress=false",
    "spark.sql.shuffle.partitions=1",
    "spark.databricks.delta.snapshotPartitions=1",  # or each question costs 50 tasks
)

SNIPPETS: list[str] = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "reading-snapshots.md").read_text(), re.DOTALL
)
"""Of the page, in order."""


def answers(names: dict[str, Any], statements: Sequence[str]) -> list[pa.Table | str]:
    """Return one answer for each statement, after the rows of the page's ``frame`` and ``recent``."""
    ensure_jars(DELTA_JARS, find_java(java_home()), listed=_LIST)
    classes = f"{JARS / 'spark'}/*:{DELTA_JARS / 'delta'}/*"
    options = f"--driver-class-path {classes} --driver-memory 1g {' '.join(f'--conf {each}' for each in _SMALL)}"
    snippets = [SNIPPETS[0], *(each for each in SNIPPETS if "SparkSession" in each)]
    with tempfile.TemporaryDirectory(prefix="lakemill-delta-") as scratch:
        order = {"names": names, "snippets": snippets, "statements": statements}
        (Path(scratch) / _ORDER).write_text(json.dumps(order))
        subprocess.run(
            [sys.executable, "-m", __name__, scratch],
            env=os.environ | {"PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell", "SPARK_LOCAL_IP": "127.0.0.1"},
            cwd=ROOT,
            check=True,
            timeout=_SECONDS,
        )
        return [_read(Path(scratch), number) for number in range(len(statements) + 2)]


def _read(folder: Path, number: int) -> pa.Table | str:
    refused = folder / f"{number}.txt"
    return refused.read_text() if refused.exists() else feather.read_table(folder / f"{number}.arrow", memory_map=False)


def _main(folder: Path) -> None:
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415
    from pyspark.errors import PySparkException  # noqa: PLC0415 - the tests that call have a Spark of their own

    order = json.loads((folder / _ORDER).read_text())
    names: dict[str, Any] = order["names"]
    for snippet in order["snippets"]:
        exec(snippet, names)  # noqa: S102 - our own page
    for number, asked in enumerate([names["frame"], names["recent"], *order["statements"]]):
        try:
            frame = names["spark"].sql(asked) if isinstance(asked, str) else asked
            feather.write_feather(frame.toArrow(), str(folder / f"{number}.arrow"))
        except (PySparkException, Py4JJavaError) as error:  # Delta's own are not translated
            (folder / f"{number}.txt").write_text(str(error))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
