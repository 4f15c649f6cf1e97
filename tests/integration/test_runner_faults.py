"""What may befall a run from below and from its input, with real Spark: a specific reason, no commit, no leftovers.

All requests go through a proxy that does to them what a store in trouble does.
"""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
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
from tests.integration.spark_mill import Mill, mill_behind_proxy, no_files_beyond, table_of
from tests.s3_server import CUT, RESET, SILENT, LossyProxy

NUMBERS = b"n,word\n" + b"".join(b"%d,word %d\n" % (number, number) for number in range(20_000))
LINES = b"".join(b'{"n": %d, "word": "word %d"}\n' % (number, number) for number in range(20_000))
_TELLS = {
    400: "Status Code: 400 | ExpiredToken",
    403: "Status Code: 403 | AccessDenied",
    500: "Status Code: 500 | InternalError",
    503: "Status Code: 503",
    RESET: "SocketException | NoHttpResponse",
    CUT: "SocketException | Premature end",
    SILENT: "Read timed out",
}
"""By what befell the requests: one of the words that the reason says."""


@pytest.fixture(scope="module")
def one_mill() -> Iterator[tuple[Mill, LossyProxy]]:
    with mill_behind_proxy() as found:
        yield found


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


@pytest.mark.parametrize("status", [400, 403, 500, 503, RESET])
def test_a_store_that_takes_no_data_fails_the_attempt_for_now(mill: Mill, proxy: LossyProxy, status: int) -> None:
    proxy.meets = lambda method, _path: status if method in {"PUT", "POST"} else None
    fails(mill, proxy, table_of(mill, "n bigint", [(1,)]), ReasonCode.STORAGE_UNAVAILABLE, _TELLS[status])


@pytest.mark.parametrize(
    ("kind", "status"),
    [("csv", 403), ("csv", 500), *(("jsonl", status) for status in (400, 403, 500, SILENT, RESET, CUT))],
)
def test_a_store_that_gives_no_data_fails_the_attempt_for_now(
    mill: Mill, proxy: LossyProxy, kind: Format, status: int
) -> None:
    mill.deliver("lines", f"a.{kind}", NUMBERS if kind == "csv" else LINES)
    # A listing names what it looks for behind a question mark.
    proxy.meets = lambda method, path: status if method == "GET" and f"a.{kind}" in path.partition("?")[0] else None
    began = monotonic()
    fails(mill, proxy, copy_of(kind), ReasonCode.STORAGE_UNAVAILABLE, _TELLS[status])
    assert monotonic() - began < 120


@pytest.mark.parametrize("status", [403, 500, CUT])
def test_a_store_that_gives_the_audit_no_data_fails_the_attempt_for_now(
    mill: Mill, proxy: LossyProxy, status: int
) -> None:
    asked: Counter[str] = Counter()

    def meets(method: str, path: str) -> int | None:
        """Answer the first look at a file, for its footer, and fail all of Spark's."""
        asked[path] += method == "GET" and ".parquet" in path
        return status if asked[path] > 1 else None

    proxy.meets = meets
    made = table_of(mill, "n bigint", [(1,)], checks=[holds("1 / n < 2"), unique("n")])
    with pytest.raises(Exception, match=_TELLS[status].replace(" | ", "|")):
        mill.run(made)
    assert mill.failure[0] is ReasonCode.STORAGE_UNAVAILABLE, mill.failure
    assert "written" in mill.control.reports[-1].stages


def test_an_audit_whose_job_is_ended_is_not_asked_again_and_blames_no_check(mill: Mill, proxy: LossyProxy) -> None:
    asked: Counter[str] = Counter()

    def meets(method: str, path: str) -> None:
        """Leave the first look at a file alone, and end the job of the second, which is Spark's."""
        asked[path] += method == "GET" and ".parquet" in path
        if asked[path] == 2:
            mill.spark.sparkContext.cancelAllJobs()

    @action(inputs={}, output="made", schema="n bigint", checks=[holds("n > 0"), unique("n")])
    def one_file() -> Any:
        return mill.spark.range(1, 2, 1, 1).toDF("n")

    proxy.meets = meets
    mill.spark.sparkContext.setJobGroup(mill.entity, "")
    with pytest.raises(Exception, match="SPARK_JOB_CANCELLED"):
        mill.run(one_file)
    jobs = mill.spark.sparkContext.statusTracker().getJobIdsForGroup(mill.entity)
    assert (mill.failure[0], len(jobs)) == (ReasonCode.RUN_DIED, 2), mill.failure


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
