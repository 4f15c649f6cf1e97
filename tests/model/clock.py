"""Time that passes when somebody says so."""

from datetime import UTC, datetime, timedelta

from tests.model.tasks import pause


class Clock:
    """One clock for everybody: how far clocks may differ is tested where it matters (tests/unit, tests/integration)."""

    def __init__(self) -> None:
        self.now = datetime(2024, 10, 5, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def sleep(self, seconds: float) -> None:
        """Wait until others have let that much time pass."""
        over = self.now + timedelta(seconds=seconds)
        while self.now < over:
            pause("asleep")
