"""What the demo asks for: ingest each raw delivery, then compute what needs it, as soon as its callback has come."""

import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cli.client import ApiClient, ApiError
from cli.demo.landing import TPCH_TABLES, Landed
from cli.demo.receiver import CallbackReceiver
from contracts.callbacks import Callback
from contracts.identity import Coordinate
from contracts.states import State
from contracts.views import MAX_PAGE

STALL_SECONDS = 900
"""The demo gives up when nothing at all has happened for so long."""
LOOK_SECONDS = 2.0
"""How often the states are asked for; asking costs the machine that computes."""


@dataclass
class Step:
    """One process of the demo, from before it is submitted until its callback has come."""

    action: str
    target: Coordinate
    needs: frozenset[Coordinate] = frozenset()
    rows_in: int = 0
    state: str = "waiting"
    process_id: str | None = None
    callback: Callback | None = None
    problem: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.callback is not None or self.state in {"published before", "refused"}


@dataclass
class Pipeline:
    """All steps, driven by callbacks: a step is submitted when the callbacks of what it needs have come."""

    client: ApiClient
    receiver: CallbackReceiver
    steps: list[Step]
    published: set[Coordinate] = field(default_factory=set)
    _next_look: float = 0.0

    def run(self, show: Callable[[], None]) -> None:
        """Submit, follow and finish every step; ``show`` is called whenever something may have changed.

        Raises TimeoutError when nothing has happened for STALL_SECONDS.
        """
        last_news = time.monotonic()
        while not all(step.is_over for step in self.steps):
            before = [step.state for step in self.steps]
            self._submit_ready()
            self._receive()
            self._follow()
            show()
            if before != [step.state for step in self.steps]:
                last_news = time.monotonic()
            elif time.monotonic() - last_news > STALL_SECONDS:
                raise TimeoutError(f"nothing has happened for {STALL_SECONDS} s; see 'lakemill status' and its logs")

    def _submit_ready(self) -> None:
        for step in self.steps:
            if step.state == "waiting" and step.needs <= self.published:
                self._submit(step)

    def _submit(self, step: Step) -> None:
        target = step.target
        request = {"entity_id": target.entity_id, "data_version": target.data_version, "action": step.action}
        try:
            answer = self.client.submit({**request, "callback_url": self.receiver.url})
        except ApiError as error:
            step.state = "published before" if error.code == "version_already_published" else "refused"
            step.problem = str(error)
            if step.state == "published before":
                self.published.add(target)
            else:
                self._give_up(target)
            return
        step.state, step.process_id = answer["state"], answer["process_id"]

    def _receive(self) -> None:
        try:
            callback = self.receiver.callbacks.get(timeout=0.5)
        except queue.Empty:
            return
        for step in self.steps:
            if step.process_id == str(callback.data.process_id):
                step.callback, step.state = callback, callback.data.state.value
                if callback.data.state is State.SUCCEEDED:
                    self.published.add(step.target)
                else:
                    self._give_up(step.target)

    def _give_up(self, missing: Coordinate) -> None:
        for step in self.steps:
            if missing in step.needs and step.state == "waiting":
                step.state, step.problem = "refused", f"its input {missing} was not published"

    def _follow(self) -> None:
        """Learn the states of the newest processes; the callbacks tell how each one ends."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK_SECONDS
        states = {process["process_id"]: process["state"] for process in self.client.processes(MAX_PAGE)}
        for step in self.steps:
            if step.process_id and not step.is_over:
                step.state = states.get(step.process_id, step.state)


def plan(flights: Iterable[Landed], tpch: Iterable[Landed]) -> list[Step]:
    """Return the demo's steps for what was landed."""
    steps: list[Step] = []
    for landed in flights:
        place = landed.coordinate
        steps.append(Step("ingest_flights", place, rows_in=landed.rows))
        target = Coordinate(place.entity_id, place.data_version, "daily_delays")
        steps.append(Step("daily_delays", target, frozenset({place}), landed.rows))
    tables = list(tpch)
    steps += [Step(f"ingest_{raw.coordinate.dataset}", raw.coordinate, rows_in=raw.rows) for raw in tables]
    place = tables[0].coordinate
    needs = frozenset(Coordinate(place.entity_id, place.data_version, table) for table in TPCH_TABLES)
    total = sum(landed.rows for landed in tables)
    for action, dataset in (("aggregate_revenue", "revenue"), ("aggregate_revenue_sql", "revenue_sql")):
        steps.append(Step(action, Coordinate(place.entity_id, place.data_version, dataset), needs, total))
    return steps
