"""Readers beside writers that are killed: does anybody ever see a part of a snapshot, or another one later?

python -m bench.snapshot_reads [JSON_FILE] [--short]
"""

import multiprocessing
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Lock, Thread

import pyarrow as pa
import pyarrow.parquet as pq

from assets.snapshots.reader import find_snapshot
from bench.report import SHORT, Report
from bench.snapshot_writer import FILES, ROWS, place, write
from bench.stacks import bench_store
from contracts.identity import Coordinate
from resources.lake.store import Lake, S3Lake
from resources.settings import LakeSettings

READS, SHORT_READS = 100_000, 500
WRITERS, READERS = 2, 4
_FEWEST_KILLS = 6
_MOST_BEGUN = 8
_LONGEST_PAUSE = 0.3
_NEWEST = 3
Writer = Callable[[LakeSettings, Path, int, int, Connection], None]
"""What a writer's process does, in a scratch folder, until it is killed."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["bench.snapshot_writer"])
_PROCESSES = Lock()
"""A start asks all processes whether they have ended: of two who ask at once one is told 255."""


@dataclass
class Seen:
    """What the readers met. ``wrong`` says what should not be; the other figures show that there was much to see."""

    reads: int = 0
    absent: int = 0
    kills: int = 0
    digests: dict[Coordinate, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def known(self, where: Coordinate) -> str | None:
        """Return the digest of what was seen there before."""
        with self.lock:
            return self.digests.get(where)

    def note(self, where: Coordinate, known: str | None, digest: str | None, wrong: str | None) -> None:
        """Count one read that began when ``known`` was: a snapshot that was there stays there, and the same."""
        with self.lock:
            self.reads += 1
            self.absent += digest is None
            before = known if digest is None else self.digests.setdefault(where, digest)
            if before != digest:
                wrong = f"{where} was {before} and is {digest}"
            if wrong:
                self.wrong.append(wrong)


def watch(settings: LakeSettings, reads: int, seed: int, writing: Writer = write) -> Seen:
    """Read at least ``reads`` times at coordinates that are being written, while the writers are killed by chance.

    It is over as soon as anything is wrong.
    """
    seen, newest, lake = Seen(), dict.fromkeys(range(WRITERS), 0), S3Lake(settings, settings.lake_bucket)
    done = Event()

    def read_on(number: int) -> None:
        chance = random.Random(seed + number)  # noqa: S311 - a test's choices
        while not seen.wrong and (seen.reads < reads or seen.kills < _FEWEST_KILLS):
            writer = chance.randrange(WRITERS)
            where = place(writer, max(0, newest[writer] - chance.randrange(_NEWEST)))
            known = seen.known(where)
            seen.note(where, known, *read(lake, where))

    with tempfile.TemporaryDirectory(prefix="lakemill-writers-") as scratch:
        told = (Path(scratch), newest, seen, done, seed)
        writers = [Thread(target=_keep_writing, args=(writing, settings, each, *told)) for each in range(WRITERS)]
        with _all(writers, done), ThreadPoolExecutor(READERS) as pool:
            list(pool.map(read_on, range(READERS)))
    return seen


def read(lake: Lake, where: Coordinate) -> tuple[str | None, str | None]:
    """Read a snapshot as the contract says; return its digest, None when there is none, and what is wrong with it."""
    snapshot = find_snapshot(lake, where)
    if snapshot is None:
        return None, None
    bodies = [lake.get(found.key) for found in snapshot.objects]
    if any(body is None for body in bodies) or len(bodies) != FILES:
        return snapshot.digest, f"{where}: of {len(bodies)} files, {bodies.count(None)} are not there"
    rows = pa.concat_tables([pq.read_table(pa.BufferReader(body)) for body in bodies])
    if sorted(rows["number"].to_pylist()) != list(range(ROWS)) or len(set(rows["writer"].to_pylist())) != 1:
        return snapshot.digest, f"{where}: {rows.num_rows} rows of {len(set(rows['writer'].to_pylist()))} executions"
    return snapshot.digest, None


def _keep_writing(
    writing: Writer,
    settings: LakeSettings,
    writer: int,
    scratch: Path,
    newest: dict[int, int],
    seen: Seen,
    done: Event,
    seed: int,
) -> None:
    """Let a writer write, kill it at a moment that chance decides, and start the next where it was."""
    chance = random.Random(seed - 1 - writer)  # noqa: S311 - a test's choices
    while not done.is_set():
        ours, theirs = _FORKS.Pipe(duplex=False)
        arguments = (settings, scratch, writer, newest[writer], theirs)
        process = _FORKS.Process(target=writing, args=arguments, daemon=True)
        with _PROCESSES:
            process.start()
        theirs.close()
        is_ours = True
        try:
            _follow(ours, writer, newest, chance.randint(1, _MOST_BEGUN), done)
            done.wait(chance.uniform(0, _LONGEST_PAUSE))
        except EOFError:
            is_ours = False
        _kill(process)
        with seen.lock:
            # Its end may also have come in the pause, where nobody listens.
            if not is_ours or process.exitcode != -signal.SIGKILL:
                seen.wrong.append(f"writer {writer} ended by itself, with exit code {process.exitcode}")
                return
            seen.kills += 1


def _follow(told: Connection, writer: int, newest: dict[int, int], most: int, done: Event) -> None:
    """Keep ``newest`` up to date until the writer has begun ``most`` snapshots. Raises EOFError when it has ended."""
    while most and not done.is_set():
        if told.poll(0.02):
            newest[writer] = told.recv()
            most -= 1


def _kill(process: BaseProcess) -> None:
    with _PROCESSES:
        process.kill()
        process.join()


@contextmanager
def _all(threads: list[Thread], done: Event) -> Iterator[None]:
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def main(arguments: list[str]) -> int:
    """Watch, report; return the exit code."""
    reads = SHORT_READS if SHORT in arguments else READS
    report = Report(
        "snapshot_reads",
        f"{WRITERS} processes publish snapshots of {FILES} files by the product's runner, with Arrow in the place of "
        f"Spark, and are killed with -9 somewhere in one of {_MOST_BEGUN}; {READERS} threads read the newest {_NEWEST} "
        "coordinates of each, commit and files, and check every row.",
    )
    with bench_store() as settings:
        seen = watch(settings, reads, seed=1)
    for told in seen.wrong[:20]:
        sys.stderr.write(f"{told}\n")
    report.add("wrong_reads", len(seen.wrong), "reads", 0)
    report.add_least("reads", seen.reads, "reads", reads)
    report.add("reads_before_the_commit", seen.absent, "reads")
    report.add("snapshots_seen", len(seen.digests), "snapshots")
    report.add("kills", seen.kills, "kills")
    return report.publish(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
