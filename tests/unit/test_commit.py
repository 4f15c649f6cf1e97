"""The commit: encode and parse are inverse, and no bytes whatever make parse do anything but refuse or read."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.commit import CheckResult, Commit, DataFile, InputUsed, Provenance, digest
from contracts.identity import Coordinate
from contracts.storage import CorruptSnapshotError

HOME = Coordinate("cust_8842", "v2024.10.05", "revenue")
SCHEMA = '{"fields":[{"metadata":{},"name":"n","nullable":true,"type":"long"}],"type":"struct"}'

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_names = st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True)
_counts = st.integers(0, 2**62)
_bounds = st.dictionaries(
    _names, st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(-1e15, 1e15), _texts), max_size=3
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**30), 10**30), _texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis
_files = st.builds(
    DataFile,
    name=st.from_regex(r"part-[0-9]{5}-[0-9a-f]{8}\.zstd\.parquet", fullmatch=True),
    size=st.integers(1, 2**50),
    rows=_counts,
    null_counts=st.dictionaries(_names, _counts, max_size=3),
    min_values=_bounds,
    max_values=_bounds,
    etag=st.none() | _texts,
)
_provenances = st.builds(
    Provenance,
    token=st.from_regex(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{1,6}-[0-9a-f]{16}", fullmatch=True),
    run_id=_texts,
    process_id=st.none() | st.uuids(),
    attempt=st.none() | st.integers(1, 9),
    tenant=st.none() | _names,
    action=_names,
    action_digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    inputs=st.dictionaries(_names, st.builds(InputUsed, path=_texts, commit_digest=st.none() | _texts), max_size=2),
    params=st.dictionaries(_texts, _json, max_size=3),
    checks=st.lists(st.builds(CheckResult, name=_texts, passed=st.booleans(), measured=_texts), max_size=2),
    resources=st.dictionaries(_texts, _json, max_size=2),
    stages=st.dictionaries(_names, _moments, max_size=3),
)
_commits = st.builds(
    Commit,
    coordinate=st.just(HOME),
    committed_at=_moments.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
    schema_string=st.just(SCHEMA),
    files=st.lists(_files, max_size=4, unique_by=lambda file: file.name),
    provenance=_provenances,
)


def sample() -> Commit:
    return Commit(
        coordinate=HOME,
        committed_at=datetime(2024, 10, 5, 12, tzinfo=UTC),
        schema_string=SCHEMA,
        files=[DataFile(name="part-0.parquet", size=10, rows=2, null_counts={"n": 1}, min_values={"n": 1})],
        provenance=Provenance(
            token="6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11-1-0123456789abcdef",
            run_id="run",
            process_id=UUID("6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11"),
            attempt=1,
            tenant="acme",
            action="aggregate_revenue",
            action_digest="0" * 64,
            inputs={},
            params={},
            checks=[],
        ),
    )


@given(_commits)
def test_parse_reads_what_encode_wrote(commit: Commit) -> None:
    assert Commit.parse(commit.encode(), HOME) == commit


@given(_commits)
def test_the_digest_names_the_bytes(commit: Commit) -> None:
    assert digest(commit.encode()) == digest(Commit.parse(commit.encode(), HOME).encode())


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"commitInfo":' + b"[" * 100_000)
@example(b"1" * 5000)
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptSnapshotError):
        Commit.parse(data, HOME)


@given(st.lists(_json, max_size=4), st.sampled_from(["commitInfo", "protocol", "metaData", "add"]))
def test_arbitrary_json_is_refused(bodies: list[Any], kind: str) -> None:
    lines = [json.dumps(body) for body in bodies] + [json.dumps({kind: body}) for body in bodies]
    with pytest.raises(CorruptSnapshotError):
        Commit.parse("\n".join(lines).encode(), HOME)


@given(st.data())
def test_one_changed_byte_is_refused_or_read(data: st.DataObject) -> None:
    body = bytearray(sample().encode())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        Commit.parse(bytes(body), HOME)
    except CorruptSnapshotError:
        return


@given(st.data())
def test_a_cut_commit_is_refused_or_lacks_only_whole_files(data: st.DataObject) -> None:
    body = sample().encode()
    cut = body[: data.draw(st.integers(0, len(body) - 2))]
    try:
        found = Commit.parse(cut, HOME)
    except CorruptSnapshotError:
        return
    assert found.files in ([], sample().files)


def rewritten_lines(body: bytes, change: Callable[[str, Any], Any]) -> bytes:
    """A commit whose actions were changed, one by one."""
    actions = [json.loads(line) for line in body.splitlines()]
    lines = [json.dumps({kind: change(kind, found)}) for action in actions for kind, found in action.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def rewritten(kind: str, **changes: Any) -> bytes:
    """The sample with fields of one of its actions replaced."""
    return rewritten_lines(sample().encode(), lambda found, action: action | changes if found == kind else action)


@pytest.mark.parametrize(
    "path",
    [
        "part-0.parquet",
        "../part-0.parquet",
        "/part-0.parquet",
        "s3://other/part-0.parquet",
        "6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11-1-0123456789abcdef/../part-0.parquet",
        "6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11-1-0123456789abcdee/part-0.parquet",
        "6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11-1-0123456789abcdef/_SUCCESS",
        "6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11-1-0123456789abcdef/a\n.parquet",
    ],
)
def test_a_file_outside_the_token_folder_is_refused(path: str) -> None:
    with pytest.raises(CorruptSnapshotError, match="token folder"):
        Commit.parse(rewritten("add", path=path), HOME)


def test_a_file_named_twice_is_refused() -> None:
    body = sample().encode()
    with pytest.raises(CorruptSnapshotError, match="twice"):
        Commit.parse(body + body.splitlines()[-1], HOME)


@pytest.mark.parametrize("kind", ["remove", "txn", "metaData", "protocol"])
def test_actions_that_have_no_place_are_refused(kind: str) -> None:
    with pytest.raises(CorruptSnapshotError, match="no place"):
        Commit.parse(sample().encode() + json.dumps({kind: {}}).encode(), HOME)


def test_another_protocol_another_home_and_another_version_are_refused() -> None:
    with pytest.raises(CorruptSnapshotError, match="not sealed"):
        Commit.parse(rewritten("protocol", minWriterVersion=2), HOME)
    with pytest.raises(CorruptSnapshotError, match="belongs to"):
        Commit.parse(sample().encode(), Coordinate("other", "v2024.10.05", "revenue"))
    later = sample().encode().replace(b'"lakemill.contract_version":"1"', b'"lakemill.contract_version":"2"')
    with pytest.raises(CorruptSnapshotError, match="upgrade"):
        Commit.parse(later, HOME)
