"""Was anything lost or done twice? Judged by the history seen from outside and the final records, by nothing else."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bench.kills.history import History, Receipt
from bench.kills.records import Records, missing_files
from contracts.callbacks import webhook_id
from contracts.identity import Coordinate
from contracts.states import State
from contracts.storage import commit_key
from resources.dagster.runs import OVER

_DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Verdict:
    """``figures`` are counts by name; ``violations`` name what is wrong, each by its kind and its ids."""

    figures: dict[str, int]
    violations: list[str]


def judge(history: History, records: Records) -> Verdict:
    """Hold what was promised against what is so."""
    found = [
        *_lost_or_open(history, records),
        *_twice(history, records),
        *_commits(records),
        *_callbacks(history, records),
        *_leases(records),
    ]
    return Verdict(_figures(history, records), found)


def _lost_or_open(history: History, records: Records) -> Iterator[str]:
    states = {row["id"]: State(row["state"]) for row in records.processes}
    for key, process_id in history.accepted():
        if process_id not in states:
            yield f"lost: {process_id} was accepted for {key} and is not there"
    for process_id, state in states.items():
        ends = [row["kind"] for row in records.ends if row["process_id"] == process_id]
        if not state.is_terminal:
            yield f"open: {process_id} is {state}"
        elif ends != [state]:
            yield f"ends: {process_id} is {state}, and its ends were {ends}"


def _twice(history: History, records: Records) -> Iterator[str]:
    bodies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for answer in history.answers:
        if answer.process_id:
            bodies[answer.about].append(answer.body)
    for key, answers in bodies.items():
        if any(body != answers[0] for body in answers):
            yield f"twice: {key} got different answers"
    known = {process_id for _, process_id in history.accepted()}
    for row in records.processes:
        if row["id"] not in known:
            yield f"twice: {row['id']} at {_place(row)} is no answer to anybody"
    for launch_id, count in Counter(row["launch_id"] for row in records.runs).items():
        if count > 1:
            yield f"twice: launch {launch_id} has {count} runs"


def _commits(records: Records) -> Iterator[str]:
    owner = {place: str(found[0].provenance.process_id) for place, found in records.commits.items()}
    succeeded = {row["id"]: _place(row) for row in records.processes if row["state"] == State.SUCCEEDED}
    for process_id, place in succeeded.items():
        if owner.get(place) != process_id:
            yield f"commits: {process_id} succeeded, and {place} is of {owner.get(place)}"
    for place, found in records.commits.items():
        if len(found) != 1 or commit_key(place) not in records.objects:
            yield f"commits: {place} has {len(found)}"
        if owner[place] not in succeeded:
            yield f"commits: {place} is of {owner[place]}, which did not succeed"
        for commit in found:
            if missing := missing_files(commit, records.objects):
                yield f"commits: {place} names {missing}, which do not lie there so"


def _callbacks(history: History, records: Records) -> Iterator[str]:
    receipts: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in history.receipts:
        receipts[str(receipt.callback.data.process_id)].append(receipt)
    deliveries = {row["process_id"]: row["state"] for row in records.deliveries}
    for row in records.processes:
        state, got = State(row["state"]), receipts.pop(row["id"], [])
        promised = str(webhook_id(UUID(row["id"]), state, row["callback_url"]))
        if {receipt.webhook_id for receipt in got} != {promised}:
            yield f"callbacks: {row['id']} was told as {sorted({each.webhook_id for each in got})}, not as {promised}"
        if len({receipt.body for receipt in got}) > 1 or any(each.callback.data.state != state for each in got):
            yield f"callbacks: {row['id']} is {state} and was told differently"
        if deliveries.get(row["id"]) != _DELIVERED:
            yield f"callbacks: the delivery of {row['id']} is {deliveries.get(row['id'])}"
    for process_id in receipts:
        yield f"callbacks: {process_id} was told, and is not there"


def _leases(records: Records) -> Iterator[str]:
    for row in records.outbox:
        yield f"leases: {row['process_id']} still waits in the outbox"
    for row in records.deliveries:
        if row["state"] == "pending":
            yield f"leases: delivery {row['id']} is still claimed or due"
    for row in records.locks:
        yield f"leases: the advisory lock {row['objid']} is held"
    for row in records.runs:
        if row["status"] not in OVER:
            yield f"leases: Dagster's run {row['run_id']} is {row['status']} and keeps its place in the queue"


def _place(row: dict[str, Any]) -> Coordinate:
    return Coordinate(row["entity_id"], row["data_version"], row["dataset"])


def _figures(history: History, records: Records) -> dict[str, int]:
    states = Counter(row["state"] for row in records.processes)
    calls = Counter(answer.call for answer in history.answers)
    ids = {receipt.webhook_id for receipt in history.receipts}
    return {
        "accepted": len({process_id for _, process_id in history.accepted()}),
        **{state.value: states[state] for state in State if state.is_terminal},
        "not_ended": sum(not State(row["state"]).is_terminal for row in records.processes),
        "answers_repeated": sum(1 for _ in history.accepted()) - len({key for key, _ in history.accepted()}),
        "calls_lost_and_repeated": sum(history.lost.values()),
        "cancels": calls["cancel"],
        "retries": calls["retry"],
        "attempts_most": max((row["attempt"] for row in records.processes), default=0),
        "runs": len(records.runs),
        "commits": sum(len(found) for found in records.commits.values()),
        "commits_per_coordinate_most": max((len(found) for found in records.commits.values()), default=0),
        "callback_ids": len(ids),
        "callbacks_received": len(history.receipts),
        "leases_held": sum(1 for _ in _leases(records)),
    }
