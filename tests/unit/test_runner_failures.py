"""From an exception to a reason: the words of Spark's stacks, as Spark writes them."""

import pytest

from assets.errors import CheckFailedError, PodsFailedError
from assets.running.failures import MAX_MESSAGE, reason_for
from contracts.reasons import Reason, ReasonCode

STACKS = [
    ("Job aborted: java.lang.OutOfMemoryError: Java heap space", ReasonCode.OUT_OF_MEMORY),
    (
        "ExecutorLostFailure (executor 2 exited) exit code 137(SIGKILL, possible container OOM) reason: OOMKilled",
        ReasonCode.OUT_OF_MEMORY,
    ),
    (
        "ExecutorLostFailure (executor 2 exited) exit code 137(SIGKILL, possible container OOM) brief reason: Evicted",
        ReasonCode.POD_EVICTED,
    ),
    (
        "ExecutorLostFailure (executor 2 exited) exit code 137(SIGKILL, possible container OOM) brief reason: null",
        ReasonCode.SPARK_UNAVAILABLE,
    ),
    ("AWSClientIOException: java.io.IOException: No space left on device", ReasonCode.DISK_FULL),
    ("java.io.IOException: Disk quota exceeded", ReasonCode.DISK_FULL),
    ("GC overhead limit exceeded", ReasonCode.OUT_OF_MEMORY),
    ("org.apache.hadoop.fs.s3a.AWSClientIOException: connect refused", ReasonCode.STORAGE_UNAVAILABLE),
    ("[FAILED_READ_FILE.NO_HINT] x\nCaused by: SdkClientException: Unable to execute", ReasonCode.STORAGE_UNAVAILABLE),
    (
        "Job aborted due to stage failure: ShuffleMapStage 4 (parquet at D.java:0) has failed the maximum allowable "
        "number of times: 4. Most recent failure reason:\norg.apache.spark.shuffle.MetadataFetchFailedException: "
        "Missing an output location for shuffle 1 partition 0",
        ReasonCode.SPARK_UNAVAILABLE,
    ),
    ("FetchFailedException\nCaused by: java.net.SocketException: Connection reset", ReasonCode.SPARK_UNAVAILABLE),
    (
        "java.nio.file.AccessDeniedException: s3a://lake/a: software.amazon.awssdk.services.s3.model.S3Exception: "
        "(Service: S3, Status Code: 403)",
        ReasonCode.STORAGE_UNAVAILABLE,
    ),
    ("[FAILED_READ_FILE.NO_HINT] x\nCaused by: AWSBadRequestException: ExpiredToken", ReasonCode.STORAGE_UNAVAILABLE),
    (
        "[FAILED_READ_FILE.NO_HINT] x\n\tat a.B\nCaused by: java.net.SocketException: Connection reset",
        ReasonCode.STORAGE_UNAVAILABLE,
    ),
    (
        "[FAILED_READ_FILE.NO_HINT] x\n\tat a.B\nCaused by: C: Premature end of Content-Length delimited message body",
        ReasonCode.STORAGE_UNAVAILABLE,
    ),
    ("Python worker exited unexpectedly\nCaused by: java.net.SocketException: reset", ReasonCode.ACTION_RAISED),
    ("PermissionError: the AccessDeniedException of a web service", ReasonCode.ACTION_RAISED),
    ("[FAILED_READ_FILE.FILE_NOT_EXIST] Encountered error while reading file s3a://lake/a", ReasonCode.INPUT_CORRUPT),
    ("[CANNOT_READ_FILE_FOOTER] Could not read footer for file", ReasonCode.INPUT_CORRUPT),
    ("[MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION] Malformed records are detected", ReasonCode.INPUT_CORRUPT),
    ("Answer from Java side is empty", ReasonCode.SPARK_UNAVAILABLE),
    ("Job 0 cancelled because SparkContext was shut down", ReasonCode.SPARK_UNAVAILABLE),
    ("[DIVIDE_BY_ZERO] Division by zero", ReasonCode.ACTION_RAISED),
    ("exit code: 1370 orders", ReasonCode.ACTION_RAISED),
    ("RejectedExecutionException: Task rejected from ThreadPoolExecutor", ReasonCode.SPARK_UNAVAILABLE),
    ("ExecutorLostFailure (executor 1 exited unrelated to the running tasks)", ReasonCode.SPARK_UNAVAILABLE),
]


@pytest.mark.parametrize(("text", "code"), STACKS)
def test_what_spark_says_decides(text: str, code: ReasonCode) -> None:
    assert reason_for(RuntimeError(text), in_action=True).code is code


def test_why_executors_went_decides_where_the_error_says_only_that_they_did() -> None:
    error = RuntimeError("RejectedExecutionException: Task rejected")
    lost = [
        f"The executor with id 1 exited with exit code 52(JVM OOM) {'status ' * 90}",
        "The executor with id 1 exited with exit code 52",
    ]
    reason = reason_for(error, in_action=True, lost_executors=lost)
    assert reason.code is ReasonCode.OUT_OF_MEMORY
    assert "exit code 52" in reason.message
    late = f"exited with exit code 137. The container statuses: {'status ' * 90} reason: OOMKilled"
    assert reason_for(error, in_action=True, lost_executors=[late]).code is ReasonCode.OUT_OF_MEMORY
    silent = "Executor heartbeat timed out after 120001 ms"
    assert reason_for(error, in_action=True, lost_executors=[silent, late]).code is ReasonCode.OUT_OF_MEMORY
    made_good = "The executor with id 1 was evicted, brief reason: Evicted"
    assert reason_for(error, in_action=True, lost_executors=[late, made_good]).code is ReasonCode.OUT_OF_MEMORY
    fetching = RuntimeError("ShuffleMapStage 4 has failed the maximum allowable number of times: 4")
    assert reason_for(fetching, in_action=True, lost_executors=[made_good]).code is ReasonCode.POD_EVICTED
    deleted = reason_for(error, in_action=True, lost_executors=["The executor with id 2 was deleted by a user"])
    assert deleted.code is ReasonCode.SPARK_UNAVAILABLE
    assert "deleted by a user" in deleted.message


def test_executors_that_went_before_none_came_decide_too() -> None:
    late = PodsFailedError(Reason(code=ReasonCode.SPARK_UNAVAILABLE, message="1 executor pods run, and none answers"))
    reason = reason_for(late, in_action=True, lost_executors=["exit code 137, reason: OOMKilled"])
    assert reason.code is ReasonCode.OUT_OF_MEMORY
    assert reason.message.startswith("1 executor pods run, and none answers; lost executors: exit code 137")
    full = Reason(code=ReasonCode.QUOTA_EXCEEDED, message="exceeded quota: small")
    assert reason_for(PodsFailedError(full), in_action=True, lost_executors=["exit code 52"]) == full


def test_who_runs_out_of_memory_is_told_what_to_ask_for() -> None:
    for text in ("java.lang.OutOfMemoryError: Java heap space", f"OutOfMemoryError {'z' * MAX_MESSAGE}"):
        message = reason_for(RuntimeError(text), in_action=True).message
        assert message.endswith("; ask for a larger resource_profile")
        assert len(message) <= MAX_MESSAGE


def test_a_lost_executor_does_not_excuse_the_action() -> None:
    reason = reason_for(ValueError("no such month"), in_action=True, lost_executors=["exit code 52"])
    assert reason.code is ReasonCode.ACTION_RAISED


@pytest.mark.parametrize(
    ("ended", "code"),
    [("ended with code -9", ReasonCode.SPARK_UNAVAILABLE), ("code -9, OOMKilled", ReasonCode.OUT_OF_MEMORY)],
)
def test_whatever_an_action_raises_once_spark_has_ended_is_not_its_fault(ended: str, code: ReasonCode) -> None:
    reason = reason_for(ConnectionRefusedError("[Errno 111]"), in_action=True, lost_driver=ended)
    assert (reason.code, reason.is_retriable) == (code, True)
    assert reason.message.startswith(f"{ended}; ConnectionRefusedError: [Errno 111]")
    assert reason_for(CheckFailedError([]), in_action=False, lost_driver=ended).code is ReasonCode.CHECK_FAILED


def test_a_cause_counts_too() -> None:
    error = RuntimeError("the write failed")
    error.__cause__ = RuntimeError("java.lang.OutOfMemoryError")
    error.__cause__.__cause__ = error  # a circle must not hang
    assert reason_for(error, in_action=True).code is ReasonCode.OUT_OF_MEMORY


def test_an_unexpected_error_outside_the_action_is_worth_another_attempt() -> None:
    reason = reason_for(RuntimeError("surprise"), in_action=False)
    assert (reason.code, reason.is_retriable) == (ReasonCode.RUN_DIED, True)


def test_the_message_is_the_first_line_and_the_root_cause() -> None:
    stack = (
        "Task failed\n\tat x.y(Z.java)\nCaused by: a.b.MiddleException: no\nCaused by: c.d.RootException: disk full\n"
    )
    assert reason_for(RuntimeError(stack), in_action=True).message == (
        "RuntimeError: Task failed; caused by RootException: disk full"
    )
    bridge = (
        "An error occurred while calling o80.parquet.\n: x.SparkException: no\nCaused by: y.ConnectException: refused"
    )
    assert reason_for(RuntimeError(bridge), in_action=True).message == "Spark: ConnectException: refused"
    uncaused = "An error occurred while calling o237.parquet.\n: x.SparkException: Job aborted\n\tat x.y(Z.java)\n"
    assert reason_for(RuntimeError(uncaused), in_action=True).message == "Spark: SparkException: Job aborted"
    worker = "\n  An exception was thrown from the Python worker. Please see the stack trace below.\n"
    trace = (
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\nValueError: no such month\n\nJVM:\n'
    )
    assert reason_for(RuntimeError(worker + trace), in_action=True).message == "ValueError: no such month"
    assert len(reason_for(RuntimeError("z" * 10_000), in_action=True).message) == MAX_MESSAGE
    assert reason_for(RuntimeError(), in_action=True).message == "RuntimeError: no message"
