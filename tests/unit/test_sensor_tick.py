"""The sensor's decision, without Dagster's daemon: what one tick reads, shows and launches."""

from collections.abc import Collection, Sequence
from uuid import UUID, uuid4

import pytest
from dagster import RunRequest

from assets.partitions import DATA_VERSIONS, ENTITIES, PROCESS_TAG
from contracts.cursor import Cursor
from contracts.intake import LAUNCH_TAG
from resources.control_plane import ControlPlaneUnavailableError
from resources.log import RecordLogError
from sensors.process_requests import DIRECT_SECONDS, FAILED_SECONDS, REPORT_SECONDS, Memory, ProcessRequests
from tests.fake_intake import AGAIN_IN, FakeControlPlane, launch_value
from tests.memory_log import MemoryLog, MemoryTopics

ACTIONS = {"aggregate_revenue": "0" * 64}


class World:
    """A log, a control plane, a clock and Dagster's partitions, and the sensor over them."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.direct, self.other = MemoryLog("direct"), MemoryLog("other")
        self.topics = MemoryTopics(self.log, self.direct, self.other)
        self.control_plane = FakeControlPlane()
        self.now = 1000.0
        self.partitions = {DATA_VERSIONS: {"v1"}, ENTITIES: {"old"}}
        self.asked: list[Sequence[str]] = []
        self.sensor = ProcessRequests(
            log=self.topics,
            control_plane=self.control_plane,
            actions=ACTIONS,
            size_of=lambda launch: {"size": launch.profile.driver_memory},
            existing_keys=self._existing,
            memory=Memory(),
            relay_topic=self.log.topic,
            wait_seconds=0,
            max_records=500,
            clock=lambda: self.now,
        )

    def _existing(self, name: str, keys: Sequence[str]) -> Collection[str]:
        self.asked.append(keys)
        return self.partitions[name] & set(keys)

    def launch(self, action: str = "aggregate_revenue", entity: str = "cust_1", launch_id: UUID | None = None) -> UUID:
        launch_id = launch_id or uuid4()
        self.log.write(b"k", launch_value(launch_id, action, entity))
        return launch_id


@pytest.fixture
def world() -> World:
    return World()


def test_a_launch_becomes_a_run_request_with_its_partition_and_its_new_key(world: World) -> None:
    launch_id = world.launch()
    tick = world.sensor.tick(None)
    (request,) = tick.runs
    assert (request.run_key, request.job_name) == (str(launch_id), "aggregate_revenue")
    assert request.partition_key == "v1|cust_1"
    assert request.tags[LAUNCH_TAG] == str(launch_id)
    assert UUID(request.tags[PROCESS_TAG])
    assert [(new.partitions_def_name, list(new.partition_keys)) for new in tick.new_keys] == [(ENTITIES, ["cust_1"])]


def test_known_keys_are_looked_up_by_name_and_not_asked_for_again(world: World) -> None:
    world.launch(entity="old")
    assert world.sensor.tick(None).new_keys == []
    assert world.asked == [["v1"], ["old"]]


@pytest.mark.parametrize("verdict", ["duplicate", "deferred", "dead"])
def test_other_verdicts_launch_nothing_and_the_cursor_goes_on(world: World, verdict: str) -> None:
    world.log.write(b"k", verdict.encode())
    tick = world.sensor.tick(None)
    assert (tick.runs, tick.new_keys) == ([], [])
    assert verdict in tick.summary
    assert tick.cursor.topics[world.log.topic].next_offsets[0] == 1


def test_poison_goes_to_intake_as_it_was_written(world: World) -> None:
    for poison in (b"\x00\xff{", b"", None):
        world.log.write(None, poison)
    world.sensor.tick(None)
    assert [record.value for record in world.control_plane.requests[0].records] == [b"\x00\xff{", b"", None]


def test_a_launch_answered_twice_in_one_tick_is_asked_for_once(world: World) -> None:
    launch_id = world.launch()
    world.launch(launch_id=launch_id)
    assert [request.run_key for request in world.sensor.tick(None).runs] == [str(launch_id)]


def test_a_launch_without_a_job_is_left_and_the_others_go(world: World) -> None:
    world.launch(action="gone")
    good = world.launch()
    assert [request.run_key for request in world.sensor.tick(None).runs] == [str(good)]


def test_when_intake_fails_the_tick_fails_and_the_same_records_come_again(world: World) -> None:
    world.launch()
    world.control_plane.away = True
    with pytest.raises(ControlPlaneUnavailableError):
        world.sensor.tick(None)
    world.control_plane.away = False
    assert len(world.sensor.tick(None).runs) == 1
    assert len(world.log.polls) == 2


def test_when_the_log_is_away_the_tick_fails(world: World) -> None:
    world.log.broken = True
    with pytest.raises(RecordLogError):
        world.sensor.tick(None)
    assert world.control_plane.requests == []


def test_intake_learns_the_cursor_that_dagster_held_when_the_tick_began(world: World) -> None:
    world.log.write(b"k", b"dead")
    first = world.sensor.tick(None)
    world.log.write(b"k", b"dead")
    world.sensor.tick(first.cursor.encode())
    assert [request.persisted for request in world.control_plane.requests] == [Cursor(), first.cursor]
    assert world.control_plane.requests[0].actions == ACTIONS


def test_idle_ticks_tell_a_new_cursor_at_once_and_an_old_one_now_and_then(world: World) -> None:
    stored = world.sensor.tick(None).cursor.encode()
    world.sensor.tick(stored)
    world.sensor.tick(stored)
    assert len(world.control_plane.requests) == 2  # nothing stored yet; stored; the third had nothing to say
    world.now += REPORT_SECONDS
    world.sensor.tick(stored)
    assert len(world.control_plane.requests) == 3


def test_a_gap_is_told_although_no_record_came(world: World) -> None:
    world.log.write(b"k", b"dead")
    stored = world.sensor.tick(None).cursor
    for _ in range(3):
        world.log.write(b"k", b"dead")
    world.log.drop_before(0, 4)
    world.sensor.tick(stored.encode())
    (gap,) = world.control_plane.requests[-1].gaps
    assert (gap.expected, gap.found) == (1, 4)


def test_a_recreated_topic_is_read_from_its_start(world: World) -> None:
    world.log.write(b"k", b"dead")
    stored = world.sensor.tick(None).cursor
    world.log.recreate()
    launch_id = world.launch()
    tick = world.sensor.tick(stored.encode())
    assert [request.run_key for request in tick.runs] == [str(launch_id)]
    assert tick.cursor.topics[world.log.topic].topic_id == world.log.topic_id


def test_five_hundred_launches_are_looked_up_in_two_questions(world: World) -> None:
    for number in range(500):
        world.launch(entity=f"cust_{number}")
    tick = world.sensor.tick(None)
    assert all(isinstance(request, RunRequest) for request in tick.runs)
    assert (len(tick.runs), len(world.asked)) == (500, 2)


def shown(world: World) -> list[list[bytes | None]]:
    """Return the values of each request to intake that held records."""
    requests = ([record.value for record in request.records] for request in world.control_plane.requests)
    return [values for values in requests if values]


def next_offsets(cursor: Cursor, topic: str) -> dict[int, int]:
    return cursor.topics[topic].next_offsets


def test_each_topic_is_shown_by_itself_the_relays_first(world: World) -> None:
    world.direct.write(None, b"accepted")
    world.other.write(None, b"dead")
    launch_id = world.launch()
    tick = world.sensor.tick(None)
    assert shown(world) == [[launch_value(launch_id)], [b"accepted"], [b"dead"]]
    assert (len(tick.runs), "1 accepted" in tick.summary) == (1, True)
    assert [next_offsets(tick.cursor, name)[0] for name in ("direct", "other")] == [1, 1]


def test_what_must_wait_stays_before_the_cursor_and_is_left_alone_for_a_while(world: World) -> None:
    for value in (b"accepted", b"later", b"later"):
        world.direct.write(None, value)
    world.direct.write(None, b"accepted", partition=1)
    world.launch()
    first = world.sensor.tick(None)
    assert next_offsets(first.cursor, "direct") == {0: 1, 1: 1}
    assert next_offsets(first.cursor, world.log.topic)[0] == 1
    world.launch()
    second = world.sensor.tick(first.cursor.encode())
    assert world.topics.held[-1] == {("direct", 0)}
    assert (len(second.runs), next_offsets(second.cursor, "direct")) == (1, {0: 1, 1: 1})
    world.now += AGAIN_IN
    world.sensor.tick(second.cursor.encode())
    assert world.topics.held[-1] == set()
    assert shown(world)[-1] == [b"later", b"later"]


def test_a_direct_topic_at_which_the_control_plane_fails_stops_no_other(world: World) -> None:
    world.direct.write(None, b"fail")
    world.other.write(None, b"accepted")
    world.launch()
    tick = world.sensor.tick(None)
    assert len(tick.runs) == 1
    assert [next_offsets(tick.cursor, name)[0] for name in ("direct", "other")] == [0, 1]
    world.sensor.tick(tick.cursor.encode())
    assert world.topics.held[-1] == {("direct", 0)}
    world.now += FAILED_SECONDS
    world.sensor.tick(tick.cursor.encode())
    assert world.topics.held[-1] == set()


def test_a_slow_topic_goes_last_in_the_next_tick(world: World) -> None:
    for log in (world.direct, world.other):
        log.write(None, b"slow")
    world.control_plane.on_slow = lambda: setattr(world, "now", world.now + DIRECT_SECONDS)
    first = world.sensor.tick(None)
    assert [next_offsets(first.cursor, name)[0] for name in ("direct", "other")] == [1, 0]
    world.direct.write(None, b"slow")
    second = world.sensor.tick(first.cursor.encode())
    assert [next_offsets(second.cursor, name)[0] for name in ("direct", "other")] == [1, 1]
