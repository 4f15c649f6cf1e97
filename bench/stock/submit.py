"""A bare ``spark-submit`` of ``bench/stock/job.py``, timed from its start to its end."""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.stock.settings import stock_credentials, stock_settings
from deploy.local.environment import inherited
from deploy.local.site import ROOT
from resources.settings import LakeSettings

_SCRIPT = Path(__file__).parent / "job.py"


class StockJobError(Exception):
    """The bare job failed; the message is the end of what it said."""


@dataclass(frozen=True, slots=True)
class StockSubmit:
    """Runs on all cores of this machine, with a heap of ``driver_memory``, on the store of ``settings``."""

    settings: LakeSettings
    jars_dir: Path
    driver_memory: str

    def run(self, action: str, target: str, sources: Mapping[str, str]) -> float:
        """Write Parquet to ``target`` from Parquet at ``sources`` (input → URL); return the seconds that it took.

        Raises StockJobError.
        """
        given = stock_settings(self.settings, self.jars_dir)
        conf = [part for name, value in given.items() for part in ("--conf", f"{name}={value}")]
        program = [str(Path(sys.executable).parent / "spark-submit"), "--driver-memory", self.driver_memory, *conf]
        arguments = [action, target, *(f"{name}={url}" for name, url in sources.items())]
        env = inherited({**stock_credentials(self.settings), "PYSPARK_PYTHON": sys.executable})
        began = time.monotonic()
        done = subprocess.run(
            [*program, str(_SCRIPT), *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        if done.returncode:
            raise StockJobError(done.stderr[-3000:])
        return seconds
