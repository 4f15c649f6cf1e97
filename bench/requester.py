"""Somebody who submits one process, waits for its callback, and asks where the time went."""

import time
from dataclasses import dataclass
from typing import Any

from cli.client import ApiClient
from cli.demo.receiver import CallbackReceiver
from contracts.callbacks import Artifact
from contracts.identity import Coordinate

_PATIENCE_SECONDS = 1800
_MARK_SECONDS = 10


class ProcessFailedError(Exception):
    """A process that a bench needs did not succeed."""


@dataclass(frozen=True, slots=True)
class Timed:
    """One process that has succeeded. ``stages``: stage → seconds since the one before."""

    artifact: Artifact
    seconds: float
    """From before the POST until the callback had come."""
    stages: dict[str, float]
    view: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Requester:
    """One process at a time."""

    client: ApiClient
    receiver: CallbackReceiver

    def run(self, action: str, place: Coordinate, **more: object) -> Timed:
        """Submit ``action`` at ``place``, with what else the request says. Raises ProcessFailedError, queue.Empty."""
        request = {"entity_id": place.entity_id, "data_version": place.data_version, "action": action, **more}
        began = time.monotonic()
        process_id = self.client.submit({**request, "callback_url": self.receiver.url})["process_id"]
        callback = self.receiver.callbacks.get(timeout=_PATIENCE_SECONDS)
        seconds = time.monotonic() - began
        if callback.data.artifact is None:
            raise ProcessFailedError(f"{place}: {callback.data.reason}")
        view = self._once_marked(process_id)
        stages = {entry["stage"]: entry["seconds"] for entry in view["timeline"]}
        return Timed(callback.data.artifact, seconds, stages, view)

    def _once_marked(self, process_id: str) -> dict[str, Any]:
        """Return the process once its delivery is marked: the last stage of the timeline. Raises TimeoutError."""
        deadline = time.monotonic() + _MARK_SECONDS
        while ((view := self.client.process(process_id))["callback"] or {}).get("state") != "delivered":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the callback of {process_id} came and is not marked")
            time.sleep(0.1)
        return view
