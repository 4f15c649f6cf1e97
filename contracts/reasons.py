"""Why a process ended without success, as a stable code and a sentence, and whether another attempt is worth it."""

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from contracts.model import Frozen

MAX_MESSAGE = 4000


class ReasonCode(StrEnum):
    """The codes of ``reason.code``. The comment groups say what the retry engine does with them."""

    # Fail at once: the same code and data would fail again.
    ACTION_RAISED = "action_raised"
    ACTION_CONTRACT = "action_contract"
    CHECK_FAILED = "check_failed"
    INPUT_MISSING = "input_missing"
    INPUT_CORRUPT = "input_corrupt"
    INPUT_TOO_LARGE = "input_too_large"
    """Packed files that unpack to more than the deployment allows."""
    VERSION_ALREADY_PUBLISHED = "version_already_published"
    VERSION_RETIRED = "version_retired"
    DEADLINE_PASSED = "deadline_passed"
    # Next attempt, up to the limit.
    RUN_DIED = "run_died"
    RUN_LOST = "run_lost"
    RUN_TIMED_OUT = "run_timed_out"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    CONTROL_PLANE_UNAVAILABLE = "control_plane_unavailable"
    SPARK_UNAVAILABLE = "spark_unavailable"
    COMMIT_REFUSED = "commit_refused"
    OUT_OF_MEMORY = "out_of_memory"
    """One profile up, where there is a larger one."""
    DISK_FULL = "disk_full"
    IMAGE_UNAVAILABLE = "image_unavailable"
    QUOTA_EXCEEDED = "quota_exceeded"
    POD_REFUSED = "pod_refused"
    POD_PENDING = "pod_pending"
    POD_EVICTED = "pod_evicted"
    NODE_LOST = "node_lost"
    CLUSTER_UNAVAILABLE = "cluster_unavailable"


_FINAL = frozenset(
    {
        ReasonCode.ACTION_RAISED,
        ReasonCode.ACTION_CONTRACT,
        ReasonCode.CHECK_FAILED,
        ReasonCode.INPUT_MISSING,
        ReasonCode.INPUT_CORRUPT,
        ReasonCode.INPUT_TOO_LARGE,
        ReasonCode.VERSION_ALREADY_PUBLISHED,
        ReasonCode.VERSION_RETIRED,
        ReasonCode.DEADLINE_PASSED,
    }
)
RETRIABLE = frozenset(ReasonCode) - _FINAL


def _storable(message: object) -> object:
    """Return text that PostgreSQL and JSON can hold: exceptions quote data, and data may hold anything."""
    if not isinstance(message, str):
        return message
    return message.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()[:MAX_MESSAGE]


class Reason(Frozen):
    """What ended an attempt: a code for programs, a sentence for people."""

    code: ReasonCode
    message: Annotated[str, BeforeValidator(_storable), StringConstraints(max_length=MAX_MESSAGE)]

    @property
    def is_retriable(self) -> bool:
        """Whether the retry engine may start another attempt."""
        return self.code in RETRIABLE
