"""64 writers publish at one coordinate at the same moment, 200 times, against the embedded stack's own store.

python -m bench.commit_race [JSON_FILE] [--short]
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Barrier
from uuid import uuid4

from assets.errors import AlreadyPublishedError
from assets.running.publication import Publisher
from assets.tables.schema import Schema
from bench.report import SHORT, Report
from bench.stacks import bench_store
from contracts.commit import Commit, Provenance, digest
from contracts.identity import Coordinate, new_token
from contracts.storage import commit_key
from resources.lake.store import LakeUnavailableError, PresignedPut, PutOutcome, S3Lake
from resources.settings import LakeSettings

WRITERS, ROUNDS, SHORT_ROUNDS = 64, 200, 5
_PERMIT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What one writer was told: the digest of what it has published, or None when it has not."""

    token: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """One race, as it looks from what is stored in the end."""

    successes: int
    false_successes: int
    """Were told that they have published, and other bytes are stored."""
    false_failures: int
    """Were told that they have not, and their commit is stored."""

    @property
    def has_one_winner(self) -> bool:
        """Whether exactly one was told that it has published, and rightly."""
        return (self.successes, self.false_successes, self.false_failures) == (1, 0, 0)


class Permits:
    """The control plane of many processes: grants every commit, and keeps until when each is good."""

    def __init__(self) -> None:
        self.granted: list[datetime] = []

    def __call__(self, expires_at: datetime) -> None:
        """Grant a permit."""
        self.granted.append(expires_at)


class RacingLake(S3Lake):
    """Holds the commits of a round back until each of its writers has one to send; keeps the answers that were lost."""

    def __init__(self, settings: LakeSettings, bucket: str, writers: int) -> None:
        """Send nothing yet."""
        super().__init__(settings, bucket)
        self.start = Barrier(writers, timeout=_PERMIT_SECONDS)
        self.unknown: list[LakeUnavailableError] = []

    def presign_commit(self, key: str, valid_seconds: int) -> PresignedPut:
        """See Lake."""
        return _HeldPut(super().presign_commit(key, valid_seconds), self)


@dataclass(slots=True)
class _HeldPut:
    put: PresignedPut
    lake: RacingLake
    is_first: bool = True

    @property
    def expires_at(self) -> datetime:
        return self.put.expires_at

    def send(self, body: bytes) -> PutOutcome:
        if self.is_first:
            self.is_first = False
            self.lake.start.wait()
        try:
            return self.put.send(body)
        except LakeUnavailableError as error:
            self.lake.unknown.append(error)
            raise


def race(lake: RacingLake, place: Coordinate, pool: ThreadPoolExecutor) -> Round:
    """Let as many processes as ``lake`` waits for publish at ``place`` at once, each as a run does."""
    publisher, permits = Publisher(lake, _PERMIT_SECONDS, lambda: datetime.now(UTC)), Permits()

    def publish(commit: Commit) -> Answer:
        token = commit.provenance.token
        try:
            return Answer(token, publisher.publish(commit, permits).digest)
        except (AlreadyPublishedError, LakeUnavailableError):
            return Answer(token, None)

    answers = list(pool.map(publish, [_commit(place) for _ in range(lake.start.parties)]))
    return judge(answers, lake.get(commit_key(place)) or b"")


def judge(answers: Sequence[Answer], stored: bytes) -> Round:
    """Return what the answers are worth when the bytes ``stored`` are what lies there, whole or not."""
    wins = [each for each in answers if each.digest is not None]
    false = [each for each in wins if each.digest != digest(stored) or each.token.encode() not in stored]
    unaware = [each for each in answers if each.digest is None and each.token.encode() in stored]
    return Round(len(wins), len(false), len(unaware))


def _commit(place: Coordinate) -> Commit:
    """Return the commit of an empty table by a process of its own."""
    process_id = uuid4()
    provenance = Provenance(
        token=new_token(str(process_id), 1),
        run_id=str(uuid4()),
        process_id=process_id,
        attempt=1,
        tenant="bench",
        action="made",
        action_digest="0" * 64,
        inputs={},
        params={},
        checks=[],
    )
    schema = Schema.parse("n int").to_json()
    return Commit(
        coordinate=place, committed_at=datetime.now(UTC), schema_string=schema, files=[], provenance=provenance
    )


def main(arguments: list[str]) -> int:
    """Race, report; return the exit code."""
    count = SHORT_ROUNDS if SHORT in arguments else ROUNDS
    report = Report(
        "commit_race",
        f"{count} rounds: {WRITERS} threads publish, each for a process of its own and by the product's publisher, at "
        "one coordinate of a SeaweedFS; their conditional PUTs are sent at once. A round has one winner when exactly "
        "one is told that it has published and its bytes are stored. Unknown: answers to a PUT that were lost.",
    )
    with bench_store() as settings, ThreadPoolExecutor(WRITERS) as pool:
        lake = RacingLake(settings, settings.lake_bucket, WRITERS)
        began = time.monotonic()
        rounds = [race(lake, Coordinate("race", f"v{number}", "made"), pool) for number in range(count)]
        seconds = time.monotonic() - began
    for told in [each for each in rounds if not each.has_one_winner] + lake.unknown:
        sys.stderr.write(f"{told}\n")
    report.add_least("rounds_with_one_winner", sum(each.has_one_winner for each in rounds), "rounds", count)
    report.add("false_successes", sum(each.false_successes for each in rounds), "writers", 0)
    report.add("false_failures", sum(each.false_failures for each in rounds), "writers", 0)
    report.add("unknown_answers", len(lake.unknown), "PUTs", 0)
    report.add("publishes_per_second", WRITERS * count / seconds, "1/s")
    return report.publish(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
