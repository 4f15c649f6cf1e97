"""64 writers create one commit at the same moment, 200 times, against the embedded stack's own store.

python -m bench.commit_race [JSON_FILE] [--short]
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench.report import SHORT, Report
from bench.stacks import bench_store
from cli.doctor.racing import race
from resources.lake.store import S3Lake

WRITERS, ROUNDS, SHORT_ROUNDS = 64, 200, 5


def main(arguments: list[str]) -> int:
    """Race, report; return the exit code."""
    rounds = SHORT_ROUNDS if SHORT in arguments else ROUNDS
    report = Report(
        "commit_race",
        f"{rounds} rounds: {WRITERS} threads send the presigned conditional PUT of one key at once to a SeaweedFS. "
        "A round is wrong when not exactly one is told that it created the object, or when other bytes are stored.",
    )
    with bench_store() as settings, ThreadPoolExecutor(WRITERS) as pool:
        lake = S3Lake(settings, settings.lake_bucket)
        began = time.monotonic()
        wrong = [told for number in range(rounds) if (told := race(lake, f"race/{number}", pool, WRITERS))]
        seconds = time.monotonic() - began
    for told in wrong:
        sys.stderr.write(f"{told}\n")
    report.add_least("rounds_with_one_winner", rounds - len(wrong), "rounds", rounds)
    report.add("wrong_rounds", len(wrong), "rounds", 0)
    report.add("puts_per_second", WRITERS * rounds / seconds, "1/s")
    return report.publish(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
