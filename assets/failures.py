"""From an exception to the reason that the requester reads, and that decides whether another attempt is worth it."""

import re
from collections.abc import Iterator

from assets.errors import PodsFailedError, RunError
from contracts.reasons import Reason, ReasonCode
from contracts.storage import CorruptSnapshotError
from resources.control_plane import ControlPlaneError
from resources.lake import LakeError
from resources.spark import SparkUnavailableError

MAX_MESSAGE = 1000
_BY_TYPE: tuple[tuple[type[BaseException], ReasonCode], ...] = (
    (CorruptSnapshotError, ReasonCode.INPUT_CORRUPT),
    (LakeError, ReasonCode.STORAGE_UNAVAILABLE),
    (ControlPlaneError, ReasonCode.CONTROL_PLANE_UNAVAILABLE),
    (SparkUnavailableError, ReasonCode.SPARK_UNAVAILABLE),
    (MemoryError, ReasonCode.OUT_OF_MEMORY),
)
# Spark tells what went wrong below it in the text of Java's stack only. In order: the first that fits counts.
_BY_TEXT: tuple[tuple[re.Pattern[str], ReasonCode], ...] = (
    (
        re.compile(r"OutOfMemoryError|GC overhead limit|OOMKilled|\bexit(ed with)? code:? ?137\b"),
        ReasonCode.OUT_OF_MEMORY,
    ),
    (
        re.compile(r"AWSClientIOException|SdkClientException|AWSStatus500|AWSServiceThrottled|AWSServiceIOException"),
        ReasonCode.STORAGE_UNAVAILABLE,
    ),
    (
        re.compile(r"Py4JNetworkError|Answer from Java side is empty|SparkContext was shut down|stopped SparkContext"),
        ReasonCode.SPARK_UNAVAILABLE,
    ),
    (
        re.compile(
            r"FAILED_READ_FILE|CANNOT_READ_FILE_FOOTER|PATH_NOT_FOUND|MALFORMED_(CSV_)?RECORD|is not a Parquet file"
        ),
        ReasonCode.INPUT_CORRUPT,
    ),
    (re.compile(r"CSV header does not conform"), ReasonCode.INPUT_CORRUPT),
)
_BRIDGE = "An error occurred while calling"  # the first line that says nothing but which object was called
_ROOT_CAUSE = re.compile(r"^Caused by: (?:[\w$]+\.)*([\w$]+: .+)$", re.MULTILINE)


def reason_for(error: BaseException, *, in_action: bool) -> Reason:
    """Classify ``error``. ``in_action``: it came from the action's code or from Spark computing its result."""
    if isinstance(error, PodsFailedError):
        return error.reason
    return Reason(code=_code(error, in_action=in_action), message=_message(error))


def _code(error: BaseException, *, in_action: bool) -> ReasonCode:
    if isinstance(error, RunError):
        return error.code
    for kind, code in _BY_TYPE:
        if isinstance(error, kind):
            return code
    if not isinstance(error, Exception):  # interrupted from outside
        return ReasonCode.RUN_DIED
    text = "\n".join(f"{type(link).__name__}: {link}" for link in _chain(error))
    for pattern, code in _BY_TEXT:
        if pattern.search(text):
            return code
    return ReasonCode.ACTION_RAISED if in_action else ReasonCode.RUN_DIED


def _message(error: BaseException) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else "no message"
    causes = _ROOT_CAUSE.findall(text)
    if causes and first.startswith(_BRIDGE):
        return f"Spark: {causes[-1]}"[:MAX_MESSAGE]
    root = f"; caused by {causes[-1]}" if causes else ""
    return f"{type(error).__name__}: {first}{root}"[:MAX_MESSAGE]


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
