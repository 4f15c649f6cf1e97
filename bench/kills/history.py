"""What was seen from outside while servers were killed: what the client was answered, what the receiver got."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cli.demo.receiver import CallbackReceiver
from contracts.callbacks import Callback


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered call. ``about`` is the Idempotency-Key, or the process of a cancel."""

    call: str
    about: str
    status: int
    body: dict[str, Any]

    @property
    def process_id(self) -> str | None:
        """The process that was accepted, None when the call was refused or accepted nothing."""
        return str(self.body["process_id"]) if self.status == 202 and self.call != "cancel" else None


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request that reached the receiver with a signature that verified."""

    webhook_id: str
    body: bytes

    @property
    def callback(self) -> Callback:
        """What it says."""
        return Callback.model_validate_json(self.body)


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and how long it took until the server was ready again."""

    server: str
    seconds: float


@dataclass
class History:
    """Written by many threads; read when all is over."""

    answers: list[Answer] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    """Calls without a usable answer, by what came instead; the client repeats them."""
    receipts: list[Receipt] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    """Servers that ended by themselves while another one was away."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def lose(self, what: str) -> None:
        """Count one call that was not answered."""
        with self._lock:
            self.lost[what] = self.lost.get(what, 0) + 1

    @property
    def under_way(self) -> int:
        """How many accepted processes the receiver has not heard of."""
        told = {receipt.webhook_id for receipt in list(self.receipts)}
        return len({process_id for _, process_id in list(self.accepted())}) - len(told)

    def accepted(self) -> Iterator[tuple[str, str]]:
        """Yield (Idempotency-Key, process) of each call that accepted a process."""
        for answer in list(self.answers):
            if process_id := answer.process_id:
                yield answer.about, process_id


class RecordingReceiver(CallbackReceiver):
    """A receiver that writes down everything it is sent, repetitions included."""

    def __init__(self, secret: str, history: History) -> None:
        super().__init__(secret)
        self._history = history

    def receive(self, body: bytes, headers: dict[str, str]) -> int:
        """See CallbackReceiver."""
        status = super().receive(body, headers)
        if status == 200:
            self._history.receipts.append(Receipt(headers["webhook-id"], body))
        return status
