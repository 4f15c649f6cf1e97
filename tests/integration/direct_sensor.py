"""A sensor in a process of its own, for a test that kills it: ``python -m tests.integration.direct_sensor FILE``.

One tick from the cursor in the file, which it replaces at its end as Dagster does.
"""

import sys
from pathlib import Path

from resources.control_plane import HttpControlPlane
from resources.faults import crash_point
from resources.kafka.log import KafkaRecordLog
from resources.log import RecordLog
from resources.settings import ComputeSettings, compute_settings
from sensors.process_requests import Memory, ProcessRequests
from tests.integration.memory_lake import DIGEST

ACTIONS = dict.fromkeys(("ingest", "refine", "aggregate_revenue"), DIGEST)


def direct_sensor(settings: ComputeSettings, log: RecordLog, link: HttpControlPlane) -> ProcessRequests:
    """Return the sensor's own code, over Kafka and HTTP, without Dagster."""
    return ProcessRequests(
        log=log,
        control_plane=link,
        actions=ACTIONS,
        size_of=lambda _: {},
        existing_keys=lambda _, keys: keys,
        memory=Memory(),
        relay_topic=settings.kafka_topic,
        wait_seconds=settings.poll_seconds,
        max_records=settings.poll_records,
    )


if __name__ == "__main__":
    cursor, found = Path(sys.argv[1]), compute_settings()
    sensor = direct_sensor(found, KafkaRecordLog(found), HttpControlPlane(found, patience=5))
    tick = sensor.tick(cursor.read_text() if cursor.exists() else None)
    crash_point("S3")
    cursor.write_text(tick.cursor.encode())
    sys.stdout.write(tick.summary)
