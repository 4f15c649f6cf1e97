"""What a run pod executes: ``python -m orchestration.run_pod api execute_run …`` is ``dagster api execute_run …``."""

import runpy

from orchestration import early_spark
from resources.settings import compute_settings

if __name__ == "__main__":
    early_spark.begin(compute_settings())
    runpy.run_module("dagster", run_name="__main__")  # Spark starts beside its imports
