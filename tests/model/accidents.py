"""What goes wrong: each accident by its name, at a moment that the machine chooses, to the n-th of what it may meet."""

from collections.abc import Callable, Mapping

from control.releasing.release import record_of
from resources.dagster.runs import RunState
from tests.model.deployment import Deployment

Accident = Callable[[Deployment, int], None]


def recover(at: Deployment) -> None:
    """End every outage."""
    at.world.store.is_down = at.world.log.broken = at.link.is_down = at.dagster.is_unreadable = False


def _lake(at: Deployment, _which: int) -> None:
    at.world.store.is_down = True


def _log(at: Deployment, _which: int) -> None:
    at.world.log.broken = True


def _api(at: Deployment, _which: int) -> None:
    at.link.is_down = True


def _unreadable_runs(at: Deployment, _which: int) -> None:
    at.dagster.is_unreadable = True


def _next_put(fate: str) -> Accident:
    return lambda at, _which: at.world.store.fates.append(fate)


def _late_put(at: Deployment, _which: int) -> None:
    if at.world.store.under_way:
        at.world.store.under_way.pop(0).arrive(at.world.store)


def _lost_answer(at: Deployment, _which: int) -> None:
    at.link.lost_answers += 1


def _lost_ack(at: Deployment, _which: int) -> None:
    at.worker.unacknowledged += 1


def _swallowed_submit(at: Deployment, _which: int) -> None:
    at.dagster.accident = "swallowed"


def _switched_off(at: Deployment, _which: int) -> None:
    at.dagster.accident = "dropped"


def _forgotten_tick(at: Deployment, _which: int) -> None:
    at.dagster.forget_the_tick()


def _declared_dead(at: Deployment, which: int) -> None:
    """Dagster believes that a run is dead, whether it is or not."""
    started = [run for run in at.dagster.runs.values() if run.status is RunState.STARTED]
    if started:
        started[which % len(started)].status = RunState.FAILURE


def _receiver(at: Deployment, which: int) -> None:
    at.receiver.status = [200, 200, 200, 500, 500, 410, None, None][which % 8]


def _mute_receiver(at: Deployment, _which: int) -> None:
    at.receiver.mute += 1


def _record(at: Deployment, which: int, *, forged: bool = False) -> None:
    """A record of a process's current attempt comes once more, or one that looks like it."""
    rows = list(at.world.rows.now.processes.values())
    record = record_of(rows[which % len(rows)]) if rows else None
    if record is not None:
        value = record.value.replace(b'"priority":', b'"priority":1') if forged else record.value
        at.world.log.write(record.key, value, which % 2)


def _old_record(at: Deployment, which: int) -> None:
    """Everything that lies in the log is written again, the newest first."""
    for partition in (0, 1):
        for record in at.world.log.records(partition)[-1 - which % 3 :][::-1]:
            at.world.log.write(record.key, record.value, partition)


def _poison(at: Deployment, which: int) -> None:
    at.world.log.write(b"x", [b"{", None, b"[]", b"\xff"][which % 4], which % 2)


def _new_topic(at: Deployment, _which: int) -> None:
    at.world.log.recreate()


def _retention(at: Deployment, which: int) -> None:
    partition = which % 2
    at.world.log.drop_before(partition, at.world.log.ends[partition])


ACCIDENTS: Mapping[str, Accident] = {
    "the API is down": _api,
    "the lake is down": _lake,
    "the log is down": _log,
    "Dagster's storage cannot be read": _unreadable_runs,
    "the next PUT is lost": _next_put("lost"),
    "the answer to the next PUT is lost": _next_put("mute"),
    "the next PUT is slow": _next_put("slow"),
    "a slow PUT arrives": _late_put,
    "an answer of the API is lost": _lost_answer,
    "an acknowledgement is lost": _lost_ack,
    "the next submit of a run fails silently": _swallowed_submit,
    "the sensor is switched off in the middle": _switched_off,
    "a tick is too old to be resumed": _forgotten_tick,
    "a run is declared dead": _declared_dead,
    "the receiver answers otherwise": _receiver,
    "the receiver takes a callback and says nothing": _mute_receiver,
    "a record comes again": _record,
    "a record is forged": lambda at, which: _record(at, which, forged=True),
    "old records come again": _old_record,
    "poison": _poison,
    "the topic is made anew": _new_topic,
    "retention passes the sensor": _retention,
}
COMMON = [
    "an acknowledgement is lost",
    "an answer of the API is lost",
    "the answer to the next PUT is lost",
    "the next PUT is slow",
    "a run is declared dead",
    "the log is down",
]
"""What networks do all the time, chosen more often than the rest."""
