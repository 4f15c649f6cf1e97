"""A receiver of callbacks that answers what it is told to, and remembers every byte."""

from resources.callbacks.sender import Outcome, SendError
from tests.model.history import Event, Heard
from tests.model.tasks import pause


class Receiver:
    """``status`` is its answer; None: the connection is refused. ``mute`` times it takes the bytes and says nothing."""

    def __init__(self, history: list[Event]) -> None:
        self.status: int | None = 200
        self.mute = 0
        self._history = history

    def send(self, url: str, body: str, headers: dict[str, str]) -> Outcome:
        if self.status is None:
            return Outcome(error=SendError.CONNECT, detail="refused")
        number, at, signature = (headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        is_mute, self.mute = self.mute > 0, max(self.mute - 1, 0)
        status = None if is_mute else self.status
        self._history.append(Heard(url, number, at, signature, body.encode(), status))
        pause("C2")
        return Outcome(error=SendError.TIMEOUT, detail="no answer") if is_mute else Outcome(status=status)
