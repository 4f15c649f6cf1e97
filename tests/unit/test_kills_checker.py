"""The checker of the kills finds each kind of harm, and none where there is none."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest

from bench.kills.checker import judge
from bench.kills.history import Answer, History, Receipt
from bench.kills.killer import VICTIMS, victims
from bench.kills.records import Records
from contracts.callbacks import Callback, CallbackData, Timings, webhook_id
from contracts.commit import Commit, DataFile, Provenance
from contracts.identity import Coordinate, new_token
from contracts.states import State
from contracts.storage import commit_key, token_prefix

PROCESS = UUID("01900000-0000-7000-8000-000000000001")
OTHER = UUID("01900000-0000-7000-8000-000000000002")
PLACE = Coordinate("site-1", "v1", "kept")
URL = "http://127.0.0.1:9/callbacks"
NOW = datetime(2024, 10, 5, tzinfo=UTC)


def commit(process_id: UUID = PROCESS) -> Commit:
    origin = Provenance(
        token=new_token(str(process_id), 1),
        run_id="run-1",
        process_id=process_id,
        attempt=1,
        tenant="default",
        action="keep_rows",
        action_digest="a" * 64,
        inputs={},
        params={},
        checks=[],
        stages={},
    )
    files = [DataFile(name="part-0.parquet", size=10, rows=3)]
    return Commit(coordinate=PLACE, committed_at=NOW, schema_string="{}", files=files, provenance=origin)


def receipt(state: State = State.SUCCEEDED, process_id: UUID = PROCESS, webhook: UUID | None = None) -> Receipt:
    data = CallbackData(
        process_id=process_id,
        entity_id=PLACE.entity_id,
        data_version=PLACE.data_version,
        action="keep_rows",
        dataset=PLACE.dataset,
        state=state,
        attempt=1,
        reason=None,
        artifact=None,
        metrics={},
        timings=Timings(waited=None, ran=None, total=1),
        accepted_at=NOW,
        finished_at=NOW,
    )
    body = Callback.model_validate({"type": f"process.{state.value}", "timestamp": NOW, "data": data})
    return Receipt(str(webhook or webhook_id(process_id, state, URL)), body.model_dump_json().encode())


def accepted(process_id: UUID = PROCESS, key: str = "submit-1") -> Answer:
    return Answer("submit", key, 202, {"process_id": str(process_id)})


def row(process_id: UUID = PROCESS, state: State = State.SUCCEEDED, entity_id: str = "site-1") -> dict[str, Any]:
    place = {"entity_id": entity_id, "data_version": "v1", "dataset": "kept"}
    return {"id": str(process_id), "state": state.value, "attempt": 1, "callback_url": URL, **place}


@dataclass
class Scene:
    """One process that was accepted, committed and told, as it should be; a test spoils one thing."""

    history: History = field(default_factory=lambda: History(answers=[accepted(), accepted()], receipts=[receipt()]))
    commit: Commit = field(default_factory=commit)

    def __post_init__(self) -> None:
        data = token_prefix(PLACE, self.commit.provenance.token) + "part-0.parquet"
        self.records = Records(
            processes=[row()],
            ends=[{"process_id": str(PROCESS), "kind": "succeeded"}],
            deliveries=[{"id": "d", "process_id": str(PROCESS), "state": "delivered"}],
            outbox=[],
            locks=[],
            runs=[{"run_id": "run-1", "status": "SUCCESS", "launch_id": "launch-1"}],
            objects={commit_key(PLACE): 500, data: 10},
            commits={PLACE: [self.commit]},
        )

    def change(self, **records: Any) -> None:
        self.records = replace(self.records, **records)


def test_what_is_as_it_should_be_has_no_violation() -> None:
    scene = Scene()
    verdict = judge(scene.history, scene.records)
    assert verdict.violations == []
    assert verdict.figures["accepted"] == verdict.figures["succeeded"] == verdict.figures["commits"] == 1
    assert verdict.figures["answers_repeated"] == 1


def test_a_callback_that_comes_twice_under_one_id_is_none() -> None:
    scene = Scene()
    scene.history.receipts.append(receipt())
    verdict = judge(scene.history, scene.records)
    assert verdict.violations == []
    assert (verdict.figures["callback_ids"], verdict.figures["callbacks_received"]) == (1, 2)


Spoil = Callable[[Scene], Any]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        pytest.param(lambda scene: scene.history.answers.append(accepted(OTHER, "submit-2")), "lost", id="lost"),
        pytest.param(lambda scene: scene.change(processes=[row(state=State.RUNNING)]), "open", id="not ended"),
        pytest.param(lambda scene: scene.change(ends=scene.records.ends * 2), "ends", id="ended twice"),
        pytest.param(
            lambda scene: scene.change(ends=[{"process_id": str(PROCESS), "kind": "failed"}]), "ends", id="changed"
        ),
        pytest.param(lambda scene: scene.history.answers.append(accepted(OTHER)), "twice", id="two ids for one key"),
        pytest.param(
            lambda scene: scene.change(processes=[row(), row(OTHER, entity_id="site-2")]), "twice", id="nobody asked"
        ),
        pytest.param(lambda scene: scene.change(runs=scene.records.runs * 2), "twice", id="two runs of a launch"),
        pytest.param(lambda scene: scene.change(commits={}), "commits", id="succeeded without a commit"),
        pytest.param(lambda scene: scene.change(commits={PLACE: [commit(OTHER)]}), "commits", id="another's commit"),
        pytest.param(lambda scene: scene.change(commits={PLACE: [scene.commit] * 2}), "commits", id="two commits"),
        pytest.param(lambda scene: scene.change(objects={commit_key(PLACE): 500}), "commits", id="a file is gone"),
        pytest.param(
            lambda scene: scene.change(processes=[row(state=State.CANCELLED)]), "commits", id="cancelled and committed"
        ),
        pytest.param(lambda scene: scene.history.receipts.clear(), "callbacks", id="never told"),
        pytest.param(lambda scene: scene.history.receipts.append(receipt(webhook=OTHER)), "callbacks", id="another id"),
        pytest.param(
            lambda scene: scene.history.receipts.append(receipt(State.FAILED)), "callbacks", id="told otherwise"
        ),
        pytest.param(
            lambda scene: scene.history.receipts.append(receipt(process_id=OTHER)), "callbacks", id="of nobody"
        ),
        pytest.param(
            lambda scene: scene.change(deliveries=[{"id": "d", "process_id": str(PROCESS), "state": "exhausted"}]),
            "callbacks",
            id="given up",
        ),
        pytest.param(
            lambda scene: scene.change(deliveries=[{"id": "d", "process_id": str(PROCESS), "state": "pending"}]),
            "leases",
            id="a claim stays",
        ),
        pytest.param(lambda scene: scene.change(outbox=[{"process_id": "p"}]), "leases", id="never released"),
        pytest.param(lambda scene: scene.change(locks=[{"objid": 2}]), "leases", id="a lock stays"),
        pytest.param(
            lambda scene: scene.change(runs=[{"run_id": "run-1", "status": "STARTED", "launch_id": "launch-1"}]),
            "leases",
            id="a run stays",
        ),
    ],
)
def test_each_harm_is_found(spoil: Spoil, kind: str) -> None:
    scene = Scene()
    spoil(scene)
    assert kind in {violation.partition(":")[0] for violation in judge(scene.history, scene.records).violations}


def test_a_seed_chooses_the_same_victims_and_each_server_as_often() -> None:
    first, again, other = (list(victims(20, Random(seed))) for seed in (7, 7, 8))  # noqa: S311 - chance is no secret
    assert first == again != other
    assert Counter(first) == dict.fromkeys(VICTIMS, 4)
