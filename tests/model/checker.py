"""What must hold, read from the history, the final tables and the store's listing. It asks the program nothing.

Each check has the number of its guarantee (docs/model.md).
"""

import base64
import hashlib
import hmac
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.intake import LogPosition, Verdict
from contracts.states import State
from contracts.storage import commit_key
from contracts.strict_json import loads
from contracts.tenancy import Tenant
from control.snapshots import coordinate_of
from tests.model.history import (
    Answered,
    Begun,
    Event,
    Heard,
    Judged,
    Kept,
    Made,
    Missed,
    Moved,
    Picked,
    Restored,
    Stored,
)
from tests.model.rows import Tables

_LOST = frozenset({State.FAILED, State.CANCELLED, State.EXPIRED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that is known when all is over."""

    history: Sequence[Event]
    tables: Tables
    listing: Mapping[str, bytes]
    topic_id: str
    """Of the topic as it is now."""
    end_of_log: Mapping[int, int]
    """Partition → the offset behind its last record."""
    dropped: Mapping[int, int]
    """Partition → the first offset that retention has left."""


def violations(found: Outcome, tenants: Mapping[str, Tenant], secret: str) -> list[str]:
    """Return every broken guarantee in words; none when all hold."""
    return [
        *_states(found.history),
        *_ends(found),
        *_commits(found),
        *_keys(found.history),
        *_records(found),
        *_launches(found.history),
        *_callbacks(found, secret),
        *_deliveries(found),
        *_fairness(found.history, tenants),
    ]


def _states(history: Sequence[Event]) -> Iterator[str]:
    """1 and 7: a terminal state never changes, success needs the commit, and no commit follows another end."""
    state: dict[UUID, State] = {}
    stored: set[UUID | None] = set()
    for event in history:
        match event:
            case Restored(states):
                state = dict(states)
            case Moved(process_id, to):
                if (before := state.get(process_id)) is not None and before.is_terminal:
                    yield f"1: process {process_id.int} was {before}, and became {to}"
                if to is State.SUCCEEDED and process_id not in stored:
                    yield f"1: process {process_id.int} has succeeded without a commit"
                if to in _LOST and process_id in stored:
                    yield f"7: process {process_id.int} became {to}, and its commit was there"
                state[process_id] = to
            case Stored(process_id=process_id):
                stored.add(process_id)
                if process_id is not None and state.get(process_id) in _LOST:
                    yield f"7: process {process_id.int} was {state[process_id]}, and its commit appeared"


def _ends(found: Outcome) -> Iterator[str]:
    """1 and 10: when the faults are over everything ends."""
    for process_id, row in found.tables.processes.items():
        if not State(row["state"]).is_terminal:
            yield f"1: process {process_id.int} is {row['state']} for ever, attempt {row['attempt']}"
        commit = found.listing.get(commit_key(coordinate_of(row)))
        if row["state"] == State.SUCCEEDED and commit is None:
            yield f"1: process {process_id.int} has succeeded, and nothing is published"


def _commits(found: Outcome) -> Iterator[str]:
    """4, 5 and 6: one commit a coordinate, never changed, its files all there, under its own token."""
    first: dict[str, Stored] = {}
    for event in found.history:
        if isinstance(event, Stored):
            if event.key in first:
                yield f"4: {event.key} was committed twice"
            first.setdefault(event.key, event)
    for key, event in first.items():
        if found.listing.get(key) != event.body:
            yield f"6: {key} is not what was committed"
        folder = key.partition("_delta_log")[0] + event.token
        if not any(name.startswith(f"{folder}/") and name.endswith(".parquet") for name in found.listing):
            yield f"5: {key} was committed without its files"


def _keys(history: Sequence[Event]) -> Iterator[str]:
    """2: the same Idempotency-Key never makes two processes, and is always answered alike."""
    made: dict[tuple[str, str], UUID] = {}
    bodies: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in history:
        match event:
            case Restored(keys=keys):
                made, bodies = dict(keys), {}
            case Made(process_id, tenant, str(key)):
                if made.setdefault((tenant, key), process_id) != process_id:
                    yield f"2: {key!r} of {tenant} made a second process"
            case Answered(tenant, str(key), process_id, body):
                if made.get((tenant, key)) != process_id or bodies.setdefault((tenant, key), body) != body:
                    yield f"2: {key!r} of {tenant} was answered differently"


def _records(found: Outcome) -> Iterator[str]:
    """3: what the cursor has passed was judged, or is a recorded gap; in the end all of the topic is passed."""
    judged: set[LogPosition] = set()
    missed: list[Missed] = []
    passed: dict[tuple[str, int], int] = defaultdict(int)
    for event in found.history:
        match event:
            case Judged(position):
                judged.add(position)
            case Missed():
                missed.append(event)
            case Kept(topic_id, next_offsets):
                for partition, offset in next_offsets.items():
                    for number in range(passed[topic_id, partition], offset):
                        place = LogPosition(topic_id=topic_id, partition=partition, offset=number)
                        if place not in judged and not _is_gap(place, missed, found):
                            yield f"3: the record at {partition}:{number} was passed over"
                    passed[topic_id, partition] = max(offset, passed[topic_id, partition])
            case _:
                continue
    for partition, end in found.end_of_log.items():
        if passed[found.topic_id, partition] < end:
            yield f"3: the records from {partition}:{passed[found.topic_id, partition]} on were never read"


def _is_gap(place: LogPosition, missed: Sequence[Missed], found: Outcome) -> bool:
    if place.topic_id == found.topic_id and place.offset >= found.dropped[place.partition]:
        return False  # it was there to be read
    here = [gap for gap in missed if (gap.topic_id, gap.partition) == (place.topic_id, place.partition)]
    return any(gap.expected <= place.offset < gap.found for gap in here)


def _launches(history: Sequence[Event]) -> Iterator[str]:
    """3 and 10: one launch for an attempt, one run for a launch."""
    launch_of: dict[tuple[UUID | None, int | None], UUID | None] = {}
    begun: set[UUID] = set()
    for event in history:
        match event:
            case Restored():
                launch_of = {}
            case Judged(_, Verdict.LAUNCH, process_id, attempt, launch_id):
                if launch_of.setdefault((process_id, attempt), launch_id) != launch_id:
                    yield f"10: attempt {attempt} of process {process_id and process_id.int} was launched twice"
            case Begun(launch_id):
                if launch_id in begun:
                    yield f"10: launch {launch_id.int} became two runs"
                begun.add(launch_id)


def _callbacks(found: Outcome, secret: str) -> Iterator[str]:
    """8: signed, under one id for (process, state, url), with one body; heard at least once or visibly given up."""
    ids: dict[tuple[str, str, str], str] = {}
    bodies: dict[str, bytes] = {}
    for event in found.history:
        match event:
            case Restored():
                bodies = {}  # the process ends again, and at another time
            case Heard():
                data = loads(event.body)["data"]
                about = (data["process_id"], data["state"], event.url)
                if ids.setdefault(about, event.webhook_id) != event.webhook_id:
                    yield f"8: {about} was told under two ids"
                if bodies.setdefault(event.webhook_id, event.body) != event.body:
                    yield f"8: {about} was told in two ways"
                if event.signature != _signature(secret, event):
                    yield f"8: the signature of {about} is not that of its bytes"


def _deliveries(found: Outcome) -> Iterator[str]:
    """8: whoever asked to hear of an end has taken it, or is shown as given up."""
    taken = {event.webhook_id for event in found.history if isinstance(event, Heard) and event.status == 200}
    sent = {(row["process_id"], row["url"]): row for row in found.tables.deliveries.values()}
    wanted = [(process_id, row["callback_url"]) for process_id, row in found.tables.processes.items()]
    for process_id, url in [*wanted, *found.tables.subscribers]:
        row = sent.get((process_id, url))
        is_told = row is not None and (row["state"] == "exhausted" or str(row["id"]) in taken)
        if url is not None and State(found.tables.processes[process_id]["state"]).is_terminal and not is_told:
            yield f"8: {url} has not heard of process {process_id.int}: {row and row['state']}"


def _signature(secret: str, heard: Heard) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{heard.webhook_id}.{heard.timestamp}.".encode() + heard.body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _fairness(history: Sequence[Event], tenants: Mapping[str, Tenant]) -> Iterator[str]:
    """9: no place goes to a tenant while another one waits that has fewer for its weight; limits hold."""
    for event in history:
        if not isinstance(event, Picked):
            continue
        if len(event.chosen) > event.room:
            yield f"9: {len(event.chosen)} were released into {event.room} places"
        count = dict(event.in_flight)
        left = dict(event.waiting)
        for process_id in event.chosen:
            tenant = left.pop(process_id)
            load = (count[tenant] + 1) / tenants[tenant].limits.weight
            for other in set(left.values()) - {tenant}:
                limits = tenants[other].limits
                is_full = limits.in_flight is not None and count[other] >= limits.in_flight
                if not is_full and (count[other] + 1) / limits.weight < load:
                    yield f"9: {tenant} got a place before {other}"
            count[tenant] += 1
            most = tenants[tenant].limits.in_flight
            if most is not None and count[tenant] > most:
                yield f"9: {tenant} has more in flight than its limit"
