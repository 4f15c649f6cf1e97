"""One store, one Spark and one control plane that keeps records: what the tests of real runs share."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import deltalake
import polars as pl
from pydantic import SecretStr
from pyspark.sql import SparkSession

from assets.declaration import Action, action
from assets.profiles import load_profiles
from assets.reading.sources import Sources
from assets.running.runner import run_member
from assets.running.task import Published, Tools
from contracts.reasons import ReasonCode
from contracts.reports import Member
from resources.lake.store import S3Lake
from resources.settings import STATE_DIR, ComputeSettings, LakeSettings
from resources.spark.session import SparkSessions
from tests.control_plane import FakeControlPlane
from tests.s3_server import ACCESS_KEY, SECRET_KEY, LossyProxy, lossy_proxy, s3_server

RUN_ID = "11111111-2222-4333-8444-555555555555"
SMALL = load_profiles()["small"]
_SOON = {
    "fs.s3a.attempts.maximum": "2",
    "fs.s3a.retry.interval": "5ms",
    "fs.s3a.retry.throttle.interval": "5ms",
    "fs.s3a.retry.throttle.limit": "3",
    "fs.s3a.retry.limit": "2",
    "fs.s3a.connection.timeout": "2s",
}


class Mill:
    """One store, one Spark, and a fresh entity for each test."""

    def __init__(self, store: LakeSettings) -> None:
        self.store = store
        self.settings = ComputeSettings(
            **store.model_dump(exclude={"s3_secret_key"}),
            s3_secret_key=store.s3_secret_key,
            internal_secret=SecretStr("internal-secret-of-the-tests"),
            jars_dir=STATE_DIR / "jars" / "spark",
            spark_master="local[2]",
        )
        self.sessions = SparkSessions(self.settings)
        self.lake = S3Lake(store, "lake")
        self.landing = S3Lake(store, "landing")
        self.control = FakeControlPlane()
        self.entity = "unset"

    @property
    def tools(self) -> Tools:
        return Tools(self.control, self.lake, self.sources, self.sessions)

    @property
    def spark(self) -> SparkSession:
        return self.sessions.open(SMALL)

    @property
    def sources(self) -> Sources:
        allowed = ("s3://landing/partner/{tenant}/", "s3://lake/shared/")
        return Sources(self.landing, "landing", allowed, lambda bucket: S3Lake(self.store, bucket))

    def deliver(self, name: str, file: str, body: bytes) -> None:
        self.landing.put(f"{self.entity}/v1/{name}/{file}", body)

    def run(self, declared: Action, *, tools: Tools | None = None, **changes: Any) -> Published:
        facts = {
            "process_id": uuid4(),
            "attempt": 1,
            "tenant": "acme",
            "action": declared.name,
            "entity_id": self.entity,
            "data_version": "v1",
            "dataset": declared.output,
            "params": {},
            "inputs": {},
            "profile": SMALL,
        }
        member = Member.model_validate(facts | changes)
        return run_member(member, run_id=RUN_ID, action=declared, tools=tools or self.tools)

    @property
    def failure(self) -> tuple[ReasonCode, str]:
        """What the last report gives as its reason: the code and the words."""
        last = self.control.reports[-1]
        assert last.reason is not None
        return last.reason.code, last.reason.message

    @property
    def reader_options(self) -> dict[str, str]:
        return {
            "aws_endpoint_url": self.store.s3_endpoint or "",
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }

    @property
    def reader_names(self) -> dict[str, str]:
        """What docs/reading-snapshots.md leaves to its reader."""
        return {
            "bucket": "lake",
            "endpoint": self.store.s3_endpoint or "",
            "key": ACCESS_KEY,
            "secret": SECRET_KEY,
        }

    def read(self, published: Published) -> pl.DataFrame:
        frame = pl.read_delta(published.url, storage_options=self.reader_options)
        table = deltalake.DeltaTable(published.url, storage_options=self.reader_options)
        assert frame.height == table.to_pyarrow_table().num_rows == published.commit.rows
        return frame


@contextmanager
def mill_behind_proxy() -> Iterator[tuple[Mill, LossyProxy]]:
    """Yield a mill with a store of its own behind a proxy, and the proxy. Its Spark gives up soon."""
    with s3_server() as store, lossy_proxy(store.s3_endpoint or "") as (address, proxy):
        mill = Mill(store.model_copy(update={"s3_endpoint": address}))
        context: Any = mill.spark.sparkContext
        for name, value in _SOON.items():
            context._jsc.hadoopConfiguration().set(name, value)
        # Hadoop takes no timeout below this.
        least = context._jvm.java.time.Duration.ofSeconds(2)
        context._jvm.org.apache.hadoop.fs.s3a.impl.AWSClientConfig.setMinimumOperationDuration(least)
        yield mill, proxy
        mill.sessions.close()


@contextmanager
def no_files_beyond(mill: Mill, size: int) -> Iterator[None]:
    """Let the JVM write no file larger than ``size``: the way to a failing write without a file system of its own."""
    context: Any = mill.spark.sparkContext
    pid = context._gateway.proc.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def table_of(mill: Mill, ddl: str, rows: list[tuple[Any, ...]], **facts: Any) -> Action:
    def made() -> Any:
        """What the test says."""
        return mill.spark.createDataFrame(rows, ddl)

    return action(inputs={}, output="made", schema=ddl, **facts)(made)
