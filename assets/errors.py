"""Everything that can end a run without a snapshot, each with the reason code that the requester will read.

RunError
├── ActionContractError      the declaration is malformed, or the action's result is not what it declares
├── ActionRaisedError        the action's own code left early (``sys.exit``)
├── CheckFailedError         a declared check does not hold
├── InputMissingError        an input has no snapshot, or nothing was delivered
├── InputCorruptError        an input is there and cannot be read
├── InputTooLargeError       packed files unpack to more than the deployment allows
├── AlreadyPublishedError    the coordinate belongs to another snapshot, for ever
├── RetiredError             the coordinate was retired, for ever
├── CommitterError           Spark's job commit left something else than the magic committer leaves
└── CommitRefusedError       no permit, or the presigned commit was used too late

PodsFailedError              the run's executors did not come, or went; carries its whole reason
"""

from collections.abc import Sequence
from typing import ClassVar

from contracts.commit import CheckResult
from contracts.problems import LakemillError
from contracts.reasons import RETRIABLE, Reason, ReasonCode


class RunError(LakemillError):
    """The root; ``code`` is the reason that goes into the report."""

    code: ClassVar[ReasonCode]

    def __init_subclass__(cls) -> None:
        cls.retriable = cls.code in RETRIABLE


class ActionContractError(RunError):
    """The declaration is malformed, or the action's result is not what it declares. Change the action file."""

    code = ReasonCode.ACTION_CONTRACT


class ActionRaisedError(RunError):
    """The action's code ended the interpreter instead of returning a DataFrame."""

    code = ReasonCode.ACTION_RAISED


class CheckFailedError(RunError):
    """A declared check does not hold for the data that was written; nothing is published.

    ``results`` are those of all checks. Correct the data or the action, then submit again.
    """

    code = ReasonCode.CHECK_FAILED

    def __init__(self, results: Sequence[CheckResult]) -> None:
        failed = [f"{result.name}: {result.measured}" for result in results if not result.passed]
        super().__init__(f"nothing was published; {'; '.join(failed)}")
        self.results = results


class InputMissingError(RunError):
    """An input has no snapshot, or nothing was delivered to the landing bucket. Produce it, then submit again."""

    code = ReasonCode.INPUT_MISSING


class InputCorruptError(RunError):
    """An input exists and cannot be read. Run ``lakemill snapshots verify`` on it, or deliver the files again."""

    code = ReasonCode.INPUT_CORRUPT


class InputTooLargeError(RunError):
    """Packed files unpack to too much. Deliver less at once, or raise LAKEMILL_LANDING_UNPACKED_BYTES."""

    code = ReasonCode.INPUT_TOO_LARGE


class AlreadyPublishedError(RunError):
    """The coordinate belongs to another snapshot, for ever. Read that one, or submit a new data_version."""

    code = ReasonCode.VERSION_ALREADY_PUBLISHED


class RetiredError(RunError):
    """The coordinate was retired: nothing is ever published there again. Submit a new data_version."""

    code = ReasonCode.VERSION_RETIRED


class CommitterError(RunError):
    """The token folder is not what the magic committer leaves. Check the S3A settings of this deployment."""

    code = ReasonCode.SPARK_UNAVAILABLE


class CommitRefusedError(RunError):
    """The commit was not allowed in time. The next attempt will ask again."""

    code = ReasonCode.COMMIT_REFUSED


class PodsFailedError(LakemillError):
    """The executor pods did not do what the run needs of them; ``reason`` says why, and goes into the report."""

    retriable = True

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason
