"""Why a record can never be processed as it is."""

from enum import StrEnum

from contracts.problems import LakemillError


class DeadCode(StrEnum):
    """Why a record is dead. One of a direct topic may also bear the code of the problem for which it was refused."""

    UNEXPECTED_TOPIC = "unexpected_topic"
    """Neither the relay's topic nor a direct one. Intake answers ``later``; a redrive is refused for it."""
    OVERSIZED = "oversized"
    """It was too large to carry: what is kept of it is not all of it."""
    TOMBSTONE = "tombstone"
    POISON = "poison"
    """Not acceptable JSON."""
    WRONG_VERSION = "wrong_version"
    INVALID_RECORD = "invalid_record"
    """JSON, but not a release record."""
    UNKNOWN_PROCESS = "unknown_process"
    HASH_MISMATCH = "hash_mismatch"
    """Forged, or damaged on its way."""


class DeadRecordError(LakemillError):
    """This record can never be processed; look at its dead letter."""

    def __init__(self, code: str, message: str) -> None:
        # Field names come from the record: whatever they hold must be storable and harmless to read.
        self.message = message[:1000].encode("unicode_escape").decode("ascii")
        self.code = str(code)
        super().__init__(f"{code}: {self.message}")
