"""Many writers, one key: how a store proves that its conditional PUT has exactly one winner."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from resources.lake.store import Lake, LakeUnavailableError, PutOutcome

_VALID_SECONDS = 60


def race(lake: Lake, key: str, pool: ThreadPoolExecutor, writers: int) -> str | None:
    """Let ``writers`` create ``key`` at the same moment; return what is wrong, or None when one won and it is stored.

    A writer whose answer is lost may be the winner: it is one when its bytes are there.
    """
    start = Barrier(writers)

    def write(number: int) -> PutOutcome | None:
        signed = lake.presign_commit(key, _VALID_SECONDS)
        start.wait(_VALID_SECONDS)
        try:
            return signed.send(_body(number))
        except LakeUnavailableError:
            return None

    outcomes = list(pool.map(write, range(writers)))
    stored = lake.get(key)
    winners = {number for number, outcome in enumerate(outcomes) if outcome is PutOutcome.CREATED}
    unknown = {number for number, outcome in enumerate(outcomes) if outcome is None}
    if len(winners) > 1:
        return f"{len(winners)} of {writers} writers were told that they had created the same object"
    if not winners and not unknown:
        return f"none of {writers} writers could create the object"
    if not any(stored == _body(number) for number in winners or unknown):
        return "the stored bytes are not the winner's"
    return None


def _body(number: int) -> bytes:
    return f"writer {number}".encode()
