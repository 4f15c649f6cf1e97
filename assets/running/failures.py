"""From an exception to the reason that the requester reads, and that decides whether another attempt is worth it."""

import re
from collections.abc import Iterator, Sequence

from assets.errors import PodsFailedError, RunError
from contracts.reasons import Reason, ReasonCode
from contracts.storage import CorruptSnapshotError
from resources.control_plane import ControlPlaneError
from resources.lake.store import LakeError
from resources.spark.storage import SparkUnavailableError

MAX_MESSAGE = 1000
_QUOTED = 400  # Spark quotes whole container statuses
_BY_TYPE: tuple[tuple[type[BaseException], ReasonCode], ...] = (
    (CorruptSnapshotError, ReasonCode.INPUT_CORRUPT),
    (LakeError, ReasonCode.STORAGE_UNAVAILABLE),
    (ControlPlaneError, ReasonCode.CONTROL_PLANE_UNAVAILABLE),
    (SparkUnavailableError, ReasonCode.SPARK_UNAVAILABLE),
    (MemoryError, ReasonCode.OUT_OF_MEMORY),
)
# Spark tells what went wrong below it in the text of Java's stack only. In order: the first that fits counts.
_BY_TEXT: tuple[tuple[re.Pattern[str], ReasonCode], ...] = (
    # An eviction ends with 137 as much as running out of memory does; only what stands beside it tells.
    (re.compile(r"\bbrief reason: Evicted\b"), ReasonCode.POD_EVICTED),
    (re.compile(r"OutOfMemoryError|GC overhead limit|OOMKilled|\bexit code:? ?52\b"), ReasonCode.OUT_OF_MEMORY),
    # S3A keeps what it uploads on the local disk first, and Spark what does not fit into memory.
    (re.compile(r"No space left on device|Disk quota exceeded|File too large"), ReasonCode.DISK_FULL),
    (
        # Executors that went took along what others wanted of them. Before the store: a network breaks both alike.
        re.compile(r"FetchFailedException|has failed the maximum allowable number of times"),
        ReasonCode.SPARK_UNAVAILABLE,
    ),
    (
        # Spark tells of a body that breaks off as of a bad file, and S3A of a refusal in Java's own word.
        re.compile(
            r"\bAWS\w+Exception|SdkClientException|java\.nio\.file\.AccessDeniedException"
            r"|FAILED_READ_FILE(?s:.*)(java\.net\.Socket|Premature end of Content-Length)"
        ),
        ReasonCode.STORAGE_UNAVAILABLE,
    ),
    (
        # An executor went while it had work. Why, stands in what was noted of it, if anywhere.
        re.compile(r"ExecutorLostFailure|RejectedExecutionException|Executor heartbeat timed out"),
        ReasonCode.SPARK_UNAVAILABLE,
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
)
_BRIDGE = "An error occurred while calling"  # the first line that says nothing but which object was called
_ROOT_CAUSE = re.compile(r"^Caused by: (?:[\w$]+\.)*([\w$]+: .+)$", re.MULTILINE)
_RAISED = re.compile(r"^: (?:[\w$]+\.)*([\w$]+: .+)$", re.MULTILINE)  # by that call, where nothing caused it
_WORKER = "An exception was thrown from the Python worker"  # and the traceback tells which
_IN_PYTHON = re.compile(r"^Traceback \(most recent call last\):\n(?: .*\n)*(\S.*)$", re.MULTILINE)
_MORE_MEMORY = "; ask for a larger resource_profile"


def reason_for(
    error: BaseException, *, in_action: bool, lost_driver: str | None = None, lost_executors: Sequence[str] = ()
) -> Reason:
    """Classify ``error``. ``in_action``: it came from the action's code or from Spark computing its result.

    ``lost_driver`` says how Spark itself has ended: an ``error`` that is not our own is a consequence.
    ``lost_executors`` says why executors went, in Spark's words, the last one first: where ``error`` tells only that
    they did, the last that says more decides. Earlier ones were made good.
    """
    if isinstance(error, PodsFailedError) and error.reason.code is not ReasonCode.SPARK_UNAVAILABLE:
        return error.reason
    code, message = _code(error, in_action=in_action), sentence(error)
    if lost_driver and not isinstance(error, RunError | PodsFailedError):
        message = f"{lost_driver}; {message}"[:MAX_MESSAGE]
        code = _code_of_text(lost_driver) or ReasonCode.SPARK_UNAVAILABLE
    if code is ReasonCode.SPARK_UNAVAILABLE and lost_executors:
        told = dict.fromkeys(f"{why[:_QUOTED]}…" if len(why) > _QUOTED else why for why in lost_executors)
        message = f"{message}; lost executors: {'; '.join(told)}"[:MAX_MESSAGE]
        codes = (_code_of_text(why) for why in lost_executors)
        code = next((told for told in codes if told not in {None, code}), code)
    if code is ReasonCode.OUT_OF_MEMORY:
        message = message[: MAX_MESSAGE - len(_MORE_MEMORY)] + _MORE_MEMORY
    return Reason(code=code, message=message)


def _code(error: BaseException, *, in_action: bool) -> ReasonCode:
    if isinstance(error, RunError):
        return error.code
    if isinstance(error, PodsFailedError):
        return error.reason.code
    for kind, code in _BY_TYPE:
        if isinstance(error, kind):
            return code
    if not isinstance(error, Exception):  # interrupted from outside
        return ReasonCode.RUN_DIED
    return _cause_below(error) or (ReasonCode.ACTION_RAISED if in_action else ReasonCode.RUN_DIED)


def _cause_below(error: BaseException) -> ReasonCode | None:
    """Return what went wrong below Spark, as far as its stack tells; None when what it was asked for went wrong."""
    return _code_of_text("\n".join(f"{type(link).__name__}: {link}" for link in _chain(error)))


def is_of_expression(error: Exception) -> bool:
    """Return whether ``error``, of Spark, says by its kind that a row's values made an expression raise.

    What went wrong below is none, nor is anything else that ends a job, as when somebody cancels it.
    """
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415 - only runs need Spark
    from pyspark import errors as kinds  # noqa: PLC0415
    from pyspark.errors.exceptions.captured import convert_exception  # noqa: PLC0415

    if _cause_below(error):
        return False
    # What has no name of Spark's, as a bad regular expression, stands below "Job aborted".
    if isinstance(error, Py4JJavaError) and (cause := error.java_exception.getCause()) is not None:
        error = convert_exception(cause)
    return isinstance(
        error,
        kinds.ArithmeticException
        | kinds.ArrayIndexOutOfBoundsException
        | kinds.DateTimeException
        | kinds.IllegalArgumentException  # numbers that are none, too
        | kinds.PythonException
        | kinds.SparkRuntimeException
        | kinds.SparkUpgradeException,
    )


def _code_of_text(text: str) -> ReasonCode | None:
    return next((code for pattern, code in _BY_TEXT if pattern.search(text)), None)


def sentence(error: BaseException) -> str:
    """Return one line for people: the first of what ``error`` says, and what caused it in Java."""
    if isinstance(error, PodsFailedError):
        return error.reason.message
    text = str(error).strip()
    first = text.splitlines()[0] if text else "no message"
    causes = _ROOT_CAUSE.findall(text)
    if first.startswith(_BRIDGE) and (told := causes or _RAISED.findall(text)):
        return f"Spark: {told[-1]}"[:MAX_MESSAGE]
    if first.startswith(_WORKER) and (raised := _IN_PYTHON.findall(text)):
        return str(raised[-1])[:MAX_MESSAGE]
    root = f"; caused by {causes[-1]}" if causes else ""
    return f"{type(error).__name__}: {first}{root}"[:MAX_MESSAGE]


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
