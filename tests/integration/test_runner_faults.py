"""What may befall a run from below and from its input, with real Spark: a specific reason, no commit, no leftovers.

All requests go through a proxy that does to them what a store in trouble does.
"""

import gzip
import resource
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, cycle
from time import monotonic
from typing import Any, cast
from uuid import uuid4

import pytest

from assets.declaration import Action, Format, action, holds, landing, unique
from assets.snapshots.verify import verify
from contracts.identity import Coordinate
from contracts.reasons import ReasonCode
from contracts.reports import Event
from contracts.storage import dataset_prefix
from resources.lake.s3 import s3_client
from tests.control_plane import FakeControlPlane
from tests.integration.spark_mill import Mill, table_of
from tests.s3_server import RESET, SILENT, LossyProxy, lossy_proxy, s3_server

NUMBERS = b"n,word\n" + b"".join(b"%d,word %d\n" % (number, number) for number in range(20_000))
_SOON = {
    "fs.s3a.attempts.maximum": "2",
    "fs.s3a.retry.interval": "5ms",
    "fs.s3a.retry.throttle.interval": "5ms",
    "fs.s3a.retry.throttle.limit": "3",
    "fs.s3a.retry.limit": "2",
    "fs.s3a.connection.timeout": "2s",
}


@pytest.fixture(scope="module")
def one_mill() -> Iterator[tuple[Mill, LossyProxy]]:
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


@pytest.fixture
def proxy(one_mill: tuple[Mill, LossyProxy]) -> LossyProxy:
    return one_mill[1]


@pytest.fixture
def mill(one_mill: tuple[Mill, LossyProxy]) -> Iterator[Mill]:
    mill, proxy = one_mill
    mill.entity = f"entity-{uuid4().hex}"
    mill.control = FakeControlPlane()
    yield mill
    proxy.meets, proxy.delay, proxy.lose = lambda _method, _path: None, 0.0, 0


def copy_of(kind: Format) -> Action:
    @action(inputs={"lines": landing(kind, "n int, word string")}, output="made", schema="n int, word string")
    def copied(lines: Any) -> Any:
        """What was delivered."""
        return lines

    return copied


def fails(mill: Mill, proxy: LossyProxy, declared: Action, code: ReasonCode, words: str, **changes: Any) -> None:
    """Run; the attempt fails with ``code`` and one of ``words``, commits nothing and leaves nothing, half or whole."""
    with pytest.raises(Exception, match=r".+"):
        mill.run(declared, **changes)
    assert mill.control.events[-2:] == [Event.STARTED, Event.FAILED]
    reason = mill.control.reports[-1].reason
    assert reason is not None
    assert reason.code == code
    assert any(each in reason.message for each in words.split(" | ")), reason
    proxy.meets = lambda _method, _path: None
    place = Coordinate(mill.entity, changes.get("data_version", "v1"), declared.output)
    # A key that ends in a slash is S3A's marker of an empty folder; gc removes it.
    assert [found.key for found in mill.lake.list(dataset_prefix(place)) if not found.key.endswith("/")] == []
    assert unfinished_uploads(mill) == []


def unfinished_uploads(mill: Mill) -> list[str]:
    client = s3_client(mill.store, read_seconds=10, tries=1)
    found = client.list_multipart_uploads(Bucket="lake").get("Uploads", [])
    return [upload["Key"] for upload in found if upload["Key"].startswith(mill.entity)]


@pytest.mark.parametrize(
    ("status", "words"),
    [(500, "Status Code: 500"), (503, "Status Code: 503"), (RESET, "SocketException | NoHttpResponse")],
)
def test_a_store_that_takes_no_data_fails_the_attempt_for_now(
    mill: Mill, proxy: LossyProxy, status: int, words: str
) -> None:
    proxy.meets = lambda method, _path: status if method in {"PUT", "POST"} else None
    fails(mill, proxy, table_of(mill, "n bigint", [(1,)]), ReasonCode.STORAGE_UNAVAILABLE, words)


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [("jsonl", 500, "Status Code: 500"), ("csv", 500, "InternalError"), ("jsonl", SILENT, "Read timed out")],
)
def test_a_store_that_gives_no_data_fails_the_attempt_for_now(
    mill: Mill, proxy: LossyProxy, kind: Format, status: int, words: str
) -> None:
    mill.deliver("lines", f"a.{kind}", NUMBERS)
    proxy.meets = lambda method, path: status if method == "GET" and f"a.{kind}" in path else None
    began = monotonic()
    fails(mill, proxy, copy_of(kind), ReasonCode.STORAGE_UNAVAILABLE, words)
    assert monotonic() - began < 120


def test_a_store_that_gives_the_audit_no_data_fails_the_attempt_for_now(mill: Mill, proxy: LossyProxy) -> None:
    asked: Counter[str] = Counter()

    def meets(method: str, path: str) -> int | None:
        """Answer the first look at a file, for its footer, and fail all of Spark's."""
        asked[path] += method == "GET" and ".parquet" in path
        return 500 if asked[path] > 1 else None

    proxy.meets = meets
    made = table_of(mill, "n bigint", [(1,)], checks=[holds("1 / n < 2"), unique("n")])
    with pytest.raises(Exception, match=r".+"):
        mill.run(made)
    assert (mill.failure[0], "500" in mill.failure[1]) == (ReasonCode.STORAGE_UNAVAILABLE, True), mill.failure
    assert "written" in mill.control.reports[-1].stages


def test_a_store_that_takes_data_and_never_answers_fails_the_attempt_in_bounded_time(
    mill: Mill, proxy: LossyProxy
) -> None:
    proxy.meets = lambda method, _path: SILENT if method in {"PUT", "POST"} else None
    began = monotonic()
    fails(mill, proxy, table_of(mill, "n bigint", [(1,)]), ReasonCode.STORAGE_UNAVAILABLE, "Read timed out")
    assert monotonic() - began < 120


@pytest.mark.parametrize(("method", "words"), [("PUT", "partNumber="), ("POST", "uploadId=")])
def test_a_lost_answer_to_sparks_upload_changes_nothing(mill: Mill, proxy: LossyProxy, method: str, words: str) -> None:
    """A part's, or that to the request which makes the parts an object."""
    mill.deliver("lines", "a.csv", NUMBERS)
    before = proxy.lost
    proxy.may_lose, proxy.lose = lambda verb, path: (verb, words in path) == (method, True), 1
    published = mill.run(copy_of("csv"))
    assert proxy.lost == before + 1
    assert (published.commit.rows, verify(mill.lake, published.commit.coordinate, deep=True).ok) == (20_000, True)
    assert unfinished_uploads(mill) == []


def test_a_store_that_stumbles_now_and_then_is_waited_for(mill: Mill, proxy: LossyProxy) -> None:
    mill.deliver("lines", "a.csv", NUMBERS)
    number, troubles = count(1), cycle([500, 503, RESET])
    proxy.meets = lambda _method, path: next(troubles) if "_delta_log" not in path and next(number) % 4 == 0 else None
    proxy.delay = 0.02
    published = mill.run(copy_of("csv"))
    assert next(number) > 12
    proxy.meets = lambda _method, _path: None
    assert (published.commit.rows, verify(mill.lake, published.commit.coordinate).ok) == (20_000, True)


def test_a_full_disk_is_named_and_worth_another_attempt(mill: Mill, proxy: LossyProxy) -> None:
    words = "sha2(cast(id as string), 512) as w"

    @action(inputs={}, output="made", schema="w string")
    def much() -> Any:
        return mill.spark.range(0, 200_000, 1, 1).selectExpr(words)

    with no_files_beyond(mill, 1024 * 1024):
        fails(mill, proxy, much, ReasonCode.DISK_FULL, "File too large")
    assert mill.run(much, attempt=2).commit.rows == 200_000


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


LINES = b"".join(b'{"n": %d, "word": "word %d"}\n' % (number, number) for number in range(20_000))


@pytest.mark.parametrize(
    ("spoil", "in_csv", "in_jsonl"),
    [
        (lambda body: gzip.compress(body)[:-9999], "Truncated compressed stream", "Unexpected end of input stream"),
        (lambda body: body, "incorrect header check", "not a gzip file"),
        (lambda body: gzip.compress(body)[:-8] + bytes(8), "incorrect data check", "gzip stream CRC failure"),
    ],
    ids=["cut", "not gzip", "wrong checksum"],
)
def test_packed_files_that_cannot_be_unpacked_are_input_corrupt(
    mill: Mill, proxy: LossyProxy, spoil: Callable[[bytes], bytes], in_csv: str, in_jsonl: str
) -> None:
    mill.deliver("lines", "a.csv.gz", spoil(NUMBERS))
    fails(mill, proxy, copy_of("csv"), ReasonCode.INPUT_CORRUPT, in_csv)
    mill.deliver("lines", "a.jsonl.gz", spoil(LINES))
    fails(mill, proxy, copy_of("jsonl"), ReasonCode.INPUT_CORRUPT, in_jsonl)


def test_a_parquet_file_with_a_sound_end_and_spoiled_pages_is_input_corrupt(mill: Mill, proxy: LossyProxy) -> None:
    mill.run(table_of(mill, "n int, word string", [(n, str(n) * 9) for n in range(999)]))
    file = next(found for found in mill.lake.list(f"{mill.entity}/") if found.key.endswith(".parquet"))
    body = cast("bytes", mill.lake.get(file.key))
    mill.deliver("packed", "a.parquet", body[:4] + bytes(len(body) // 2) + body[4 + len(body) // 2 :])

    @action(inputs={"packed": landing("parquet", "n int, word string")}, output="again", schema="n int, word string")
    def again(packed: Any) -> Any:
        return packed

    fails(mill, proxy, again, ReasonCode.INPUT_CORRUPT, "was not found in serialized data")


@pytest.mark.parametrize(
    ("ddl", "row", "code", "words"),
    [
        ("m bigint", (1,), ReasonCode.ACTION_RAISED, "`n` cannot be resolved"),
        ("n string", ("x",), ReasonCode.ACTION_CONTRACT, "n string instead of n bigint"),
    ],
    ids=["renamed", "another type"],
)
def test_an_input_whose_columns_have_changed_is_named(
    mill: Mill, proxy: LossyProxy, ddl: str, row: tuple[Any, ...], code: ReasonCode, words: str
) -> None:
    @action(inputs={"made": "made"}, output="picked", schema="n bigint")
    def picked(made: Any) -> Any:
        return made.select("n")

    mill.run(table_of(mill, "n bigint", [(1,)]))
    mill.run(picked)
    mill.run(table_of(mill, ddl, [row]), data_version="v2")
    fails(mill, proxy, picked, code, words, data_version="v2")
