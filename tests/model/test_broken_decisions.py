"""A model that cannot fail proves nothing: each of these broken programs is found out."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from contracts.cursor import Cursor
from contracts.reports import Report
from contracts.states import State
from control.accepting.submission import Submission
from control.callbacks.schedule import CallbackVerdict, DeliveryState
from control.rules.endings import End
from control.rules.gates import Permit
from control.rules.reconciling import Step, decide
from control.snapshots import FoundCommit
from resources.control_plane import ControlPlaneError
from resources.lake.store import PutOutcome
from resources.settings import ControlSettings
from sensors.process_requests import ProcessRequests, Tick
from tests.model import worker
from tests.model.api import Api
from tests.model.decisions import Decisions, Row
from tests.model.intake import Intake
from tests.model.machine import BrokenGuaranteeError, machine_of
from tests.model.store import MemoryStore

ENOUGH = settings(
    max_examples=5000,
    stateful_step_count=30,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
"""Found is enough: nobody reads the smallest example of a bug that was made on purpose."""


def cursor_first(sensor: ProcessRequests, stored: str | None) -> Tick:
    """Move on before the control plane has answered."""
    try:
        return ProcessRequests.tick(sensor, stored)
    except ControlPlaneError:
        polled = sensor.log.poll(Cursor.parse(stored), wait_seconds=0, max_records=sensor.max_records)
        return Tick(polled.cursor, [], [], "")


def always_permitted(_row: Row, _report: Report, now: datetime, settings: ControlSettings) -> Permit:
    return Permit(now + timedelta(seconds=settings.permit_seconds), is_new=True)


def wanted_for_ever(row: Row | None, _process_id: UUID, _attempt: int) -> Row:
    assert row is not None
    return row


def due_at_once(row: Row | None, _now: datetime, _settings: ControlSettings) -> bool:
    return row is not None and row["ending"] is not None and not State(row["state"]).is_terminal


def anybodys_commit(_row: Row, found: FoundCommit) -> End:
    return End(State.SUCCEEDED, {}, {"artifact": found.artifact.model_dump(mode="json"), "reason": None})


def never_again(*known: object, runs_known: bool) -> Step:
    step = decide(*known, runs_known=runs_known)  # type: ignore[arg-type]
    return Step.NOTHING if step is Step.RESEND else step


BROKEN: dict[str, tuple[str, Decisions]] = {
    "the permit is not checked before the PUT": ("7", Decisions(wanted=wanted_for_ever, permit=always_permitted)),
    "a process ends while a permit is live": ("7", Decisions(is_due=due_at_once)),
    "a process ends without the last look": ("7", Decisions(last_look=lambda _look: False)),
    "the cursor moves before the answer": ("3", Decisions(tick=cursor_first)),
    "the outbox row goes before the acknowledgement": (
        "1",
        Decisions(acknowledged=lambda sent, places: list(zip(sent, places, strict=True))),
    ),
    "a lost record is not sent again": ("1", Decisions(reconcile=never_again)),
    "a terminal state may change": ("1", Decisions(allowed_before=lambda _to: frozenset(State))),
    "anybody's commit is our success": ("1", Decisions(by_commit=anybodys_commit)),
    "the webhook-id is random": ("8", Decisions(webhook_id=lambda *_: uuid4())),
    "a failed try counts as delivered": (
        "8",
        Decisions(after_try=lambda *_: CallbackVerdict(DeliveryState.DELIVERED)),
    ),
}


@pytest.mark.parametrize(("guarantee", "decisions"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_decision_is_found(guarantee: str, decisions: Decisions) -> None:
    with pytest.raises(BrokenGuaranteeError, match=f"(?m)^{guarantee}: "):
        run_state_machine_as_test(machine_of(decisions), settings=ENOUGH)


def forget_keys(patch: pytest.MonkeyPatch) -> None:
    """Look for no earlier request of the same key."""
    accept = Api._accept

    def anew(api: Api, asked: Submission) -> Mapping[str, Any]:
        if asked.key is not None:
            api.rows.now.keys.pop((asked.tenant.id, asked.key), None)
        return accept(api, asked)

    patch.setattr(Api, "_accept", anew)


def overwrite(patch: pytest.MonkeyPatch) -> None:
    """Let the last of two commits win."""
    create = MemoryStore.create

    def put(store: MemoryStore, key: str, body: bytes) -> PutOutcome:
        store.objects.pop(key, None)
        return create(store, key, body)

    patch.setattr(MemoryStore, "create", put)


def change_later(patch: pytest.MonkeyPatch) -> None:
    """Write a commit otherwise once it is stored: the same, in other bytes."""
    create = MemoryStore.create

    def put(store: MemoryStore, key: str, body: bytes) -> PutOutcome:
        outcome = create(store, key, body)
        store.objects[key] = body.replace(b'":', b'": ', 1)
        return outcome

    patch.setattr(MemoryStore, "create", put)


def lose_files(patch: pytest.MonkeyPatch) -> None:
    """Take the files away once their commit is stored."""
    create = MemoryStore.create

    def put(store: MemoryStore, key: str, body: bytes) -> PutOutcome:
        outcome = create(store, key, body)
        for name in [name for name in store.objects if name.endswith(".parquet")]:
            del store.objects[name]
        return outcome

    patch.setattr(MemoryStore, "create", put)


def first_come(patch: pytest.MonkeyPatch) -> None:
    """Give places in the order of the requests, whoever asked."""
    patch.setattr(worker, "fill", lambda room, waiting, *_: [row["id"] for row in waiting][: max(room, 0)])


def launch_anew(patch: pytest.MonkeyPatch) -> None:
    """Decide a launch each time a record is shown."""
    launch = Intake._launch

    def anew(intake: Intake, row: Row, place: Mapping[str, Any]) -> UUID:
        launch(intake, row, place)
        new = intake.world.new_id()
        intake.rows.change(row["id"], launch_id=new)
        of_attempt = (row["id"], row["attempt"])
        launches = intake.rows.now.launches
        launches[of_attempt] = {**launches[of_attempt], "launch_id": new}
        return new

    patch.setattr(Intake, "_launch", anew)


@pytest.mark.parametrize(
    ("guarantee", "break_it"),
    [
        ("2", forget_keys),
        ("4", overwrite),
        ("5", lose_files),
        ("6", change_later),
        ("9", first_come),
        ("10", launch_anew),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_part_is_found(
    guarantee: str, break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(monkeypatch)
    with pytest.raises(BrokenGuaranteeError, match=f"(?m)^{guarantee}: "):
        run_state_machine_as_test(machine_of(Decisions()), settings=ENOUGH)
