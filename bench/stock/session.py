"""What a run of the usual Dagster code location does before its first result: its imports, then ``getOrCreate()``.

``python -m bench.stock.session SETTINGS SOURCE TARGET``, the settings as JSON. Prints when the imports were done, when
Spark was ready, and when the Parquet at ``SOURCE`` had been written to ``TARGET`` (Unix seconds).
"""

import json
import sys
import time

import dagster  # noqa: F401 - what such a location imports, whether this run needs it or not
import dagster_aws.s3  # noqa: F401
import dagster_k8s  # noqa: F401
import dagster_postgres  # noqa: F401
import dagster_pyspark  # noqa: F401
from pyspark.sql import SparkSession

if __name__ == "__main__":
    imported = time.time()
    settings, source, target = sys.argv[1:]
    session = SparkSession.builder.config(map=json.loads(settings)).getOrCreate()
    ready = time.time()
    session.read.parquet(source).write.parquet(target)
    print(json.dumps({"imported": imported, "ready": ready, "result": time.time()}))
    session.stop()
