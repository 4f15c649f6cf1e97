"""Spark and an object store behind an authority of its own, in a JVM that got its trust store from the entrypoint."""

import os
import sys
from pathlib import Path

import pytest

from tests.integration.spark_mill import Mill
from tests.s3_server import s3_server_behind_tls
from tests.unit.test_image_entrypoint import entrypoint


def test_spark_writes_and_reads_through_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server_behind_tls(tmp_path) as store:
        told = {"LAKEMILL_S3_CA_FILE": str(store.s3_ca_file), "TMPDIR": str(tmp_path)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        made = entrypoint(path, "sh", "-c", 'echo "$JAVA_TOOL_OPTIONS"', "api", "execute_run", **told)
        assert made.returncode == 0, made.stderr
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", made.stdout.strip())
        mill = Mill(store)
        try:
            mill.spark.range(10).coalesce(1).write.parquet(mill.lake.spark_url("numbers"))
            assert mill.spark.read.parquet(mill.lake.spark_url("numbers")).count() == 10
        finally:
            mill.sessions.close()
        assert [each.key for each in mill.lake.list("numbers/part-")]
