"""Records that nobody could have meant: each ends as a dead letter with its reason, and good ones around it run."""

import json
from uuid import uuid4

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient

from contracts.messages import ProcessRequest, ReleaseRecord
from contracts.states import State
from resources.kafka.admin import ensure_topic
from tests.e2e.world import World, wait_for


def record(**changes: object) -> bytes:
    request = ProcessRequest(entity_id="forged", data_version="v1", action="ingest_flights")
    envelope = {"process_id": str(uuid4()), "attempt": 1, "tenant": "default", "request_hash": request.request_hash()}
    good = ReleaseRecord.model_validate({**request.model_dump(mode="json"), **envelope})
    return json.dumps({**json.loads(good.encode()), **changes}).encode()


def poison(running: str) -> list[tuple[str, bytes | None]]:
    """Return hostile record values, each with the code of the dead letter that it must become."""
    return [
        ("poison", b"{not json"),
        ("poison", b'{"entity_id": "a", "entity_id": "b"}'),
        ("poison", b"\x00\xff"),
        ("poison", b""),
        ("tombstone", None),
        ("invalid_record", b"null"),
        ("invalid_record", b"[]"),
        ("invalid_record", record(entity_id=7)),
        ("invalid_record", record(entity_id="a\0b")),
        ("invalid_record", record(surprise=1)),
        ("wrong_version", record(contract_version=2)),
        ("oversized", b"x" * 1_200_000),
        ("unknown_process", record()),
        ("hash_mismatch", record(process_id=running)),
    ]


def test_poison_is_put_aside_and_good_records_run(world: World) -> None:
    target = world.land_flights()
    first = world.submit(target)
    world.reach(first, State.QUEUED, State.RUNNING, seconds=60)
    producer = KafkaProducer(bootstrap_servers=world.settings.kafka_bootstrap, max_request_size=4_000_000)
    sent = [(code, producer.send(world.settings.kafka_topic, key=b"k", value=value)) for code, value in poison(first)]
    wanted = {(future.get(10).partition, future.get(10).offset): code for code, future in sent}
    producer.close(timeout=5)
    other = world.land_flights()
    second = world.submit(other)

    def dead() -> dict[tuple[int, int], str]:
        rows = world.rows("SELECT log_partition, log_offset, code FROM dead_letters WHERE message <> ''")
        found = {(row["log_partition"], row["log_offset"]): row["code"] for row in rows}
        return (
            {place: code for place, code in found.items() if place in wanted} if wanted.keys() <= found.keys() else {}
        )

    assert wait_for("every poison record is a dead letter", dead, 60) == wanted
    for process_id, place in ((first, target), (second, other)):
        assert world.finish(process_id)["state"] == State.SUCCEEDED
        world.assert_one_outcome(process_id, place)


def test_a_recreated_topic_does_not_stop_the_sensor(world: World) -> None:
    world.stack.kill("daemon")
    world.stack.wait_dead("daemon")
    target = world.land_flights()
    lost = world.submit(target)  # released into the topic that is about to vanish
    wait_for("it is released", lambda: "released" in world.events(lost), 30)
    admin = KafkaAdminClient(bootstrap_servers=world.settings.kafka_bootstrap)
    admin.delete_topics([world.settings.kafka_topic])
    wait_for("the topic is gone", lambda: world.settings.kafka_topic not in admin.list_topics(), 30)
    admin.close()
    ensure_topic(world.settings)
    world.stack.restart("daemon")
    other = world.land_flights()
    for process_id, place in ((world.submit(other), other), (lost, target)):
        assert world.finish(process_id)["state"] == State.SUCCEEDED
        world.assert_one_outcome(process_id, place)
