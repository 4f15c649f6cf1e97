"""Direct topics: are they there, can the sensor read them, and is there a tenant for each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.doctor.asking import ask, column
from cli.doctor.check import Check, Group, Result, failed, passed
from cli.doctor.kafka import connected
from cli.doctor.site import Site

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from resources.kafka.probe import KafkaAnswers


def _topics(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge whether the sensor can read every direct topic, and whether its records stay until it has."""
    names = site.kafka.direct_topics
    if not names:
        return passed("no direct topic is configured")
    wrong = [f"{name!r} {lack}" for name in names for lack in _lacks(site, kafka, name)]
    return failed("; ".join(wrong)) if wrong else passed(f"{', '.join(map(repr, names))}: there, with leaders")


def _lacks(site: Site, kafka: "KafkaAnswers", name: str) -> Iterator[str]:
    from resources.kafka.probe import KafkaProbeError, SettingsHiddenError

    try:
        found = kafka.topic(name)
        if found.leaderless:
            yield f"has no leader for partitions {', '.join(map(str, found.leaderless))}"
        if not site.has_control and (missing := {"READ", "DESCRIBE"} - found.operations):
            yield f"may not be used by the sensor, which needs {', '.join(sorted(missing))}"
        if "compact" in kafka.configs(name)["cleanup.policy"]:
            yield "is compacted: records of one key replace each other unread"
    except SettingsHiddenError:
        return  # who may read need not see the settings
    except KafkaProbeError as error:
        yield f"cannot be used: {error}"


def _tenants(site: Site) -> Result:
    topics = site.control.direct_topics
    if not topics:
        return passed("no direct topic is configured")

    async def read(conn: "AsyncConnection") -> list[str]:
        return await column(conn, "SELECT id FROM tenants")

    there = set(ask(site, site.control.database_url, read))
    lost = [f"{topic!r} is given to {tenant!r}" for topic, tenant in topics.items() if tenant not in there]
    if lost:
        return failed(f"{'; '.join(lost)}: there is no such tenant, and the records wait")
    return passed(f"each of {len(topics)} direct topics has its tenant")


TOPICS = Check(
    "kafka.direct_topics",
    Group.KAFKA,
    "Does every topic of LAKEMILL_DIRECT_TOPICS exist, with a leader for each partition, not compacted, and may the "
    "sensor read it?",
    "Run `lakemill topics ensure`; allow Read and Describe on it to the sensor; set cleanup.policy to delete.",
    connected(_topics),
)
TENANTS = Check(
    "postgres.direct_tenants",
    Group.POSTGRES,
    "Does every tenant exist that LAKEMILL_DIRECT_TOPICS gives a topic to?",
    "Run `lakemill tenants create`, or correct the tenant's name.",
    _tenants,
)
