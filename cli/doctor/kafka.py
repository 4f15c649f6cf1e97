"""The log between the planes: is it there, does it keep records long enough, may we use it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from cli.doctor.check import Check, Group, Result, failed, passed, warned
from cli.doctor.site import Site
from cli.doctor.tls import tls_result
from resources.kafka.admin import RECORD_ROOM

if TYPE_CHECKING:
    from resources.kafka.probe import KafkaAnswers

WANTED_RETENTION_DAYS = 7
_DAY_MS = 24 * 3600 * 1000
_BATCH_BYTES = 1024
"""What a batch adds to a record: its headers, the key."""
_DANGEROUS = ("DELETE", "ALTER", "ALTER_CONFIGS")


def reachable(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge the cluster."""
    found = kafka.cluster()
    if found.controller is None:
        return failed(f"cluster {found.id} of {found.brokers} brokers has no controller")
    if not found.brokers:
        return failed(f"cluster {found.id} names no broker")
    return passed(f"cluster {found.id}, {found.brokers} brokers, {site.kafka.kafka_security_protocol}")


def tls(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge whether others can read what we send to the brokers, which have answered."""
    kafka.cluster()
    settings = site.kafka
    hosts = [address.rpartition(":")[0] for address in settings.kafka_bootstrap.split(",")]
    protocol = settings.kafka_security_protocol
    at_stake = "the password and records" if protocol.startswith("SASL") else "records"
    return tls_result(protocol, hosts, at_stake, is_encrypted=protocol.endswith("SSL"))


def topic(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge whether every partition is served."""
    found, name = kafka.topic(), site.kafka.kafka_topic
    if found.leaderless:
        return failed(f"partitions {', '.join(map(str, found.leaderless))} of {name!r} have no leader")
    if found.partitions < (wanted := site.options.partitions):
        return failed(f"{name!r} has {found.partitions} partitions instead of {wanted}")
    return passed(f"{name!r} has {found.partitions} partitions, each with a leader")


def replication(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge whether a record that was acknowledged outlives a broker."""
    found, least = kafka.topic(), int(kafka.configs()["min.insync.replicas"])
    told = f"replication factor {found.replicas}, {found.in_sync} in sync, min.insync.replicas {least}"
    if found.replicas < (wanted := site.options.replication_factor):
        return failed(f"{told}; {wanted} copies are wanted")
    if found.in_sync < least:
        return failed(f"{told}: no record is accepted now")
    if found.replicas == least > 1:
        return warned(f"{told}: no record is accepted while one broker is away")
    return warned(f"{told}: an acknowledged record may lie on one broker only") if least < 2 else passed(told)


def retention(_site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge whether a record stays until it was read, even after a long weekend."""
    configs = kafka.configs()
    policy, kept_ms, kept_bytes = configs["cleanup.policy"], int(configs["retention.ms"]), configs["retention.bytes"]
    if "compact" in policy:
        return failed(f"cleanup.policy is {policy!r}: records of one key replace each other unread")
    days = "for ever" if kept_ms < 0 else f"for {kept_ms / _DAY_MS:g} days"
    if 0 <= kept_ms < WANTED_RETENTION_DAYS * _DAY_MS:
        return warned(f"records stay {days}: a sensor that stands still for longer loses what it has not read")
    if int(kept_bytes) >= 0:
        return warned(f"records stay {days}, but only the newest {kept_bytes} bytes of a partition")
    return passed(f"records stay {days}")


def record_size(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge whether the largest record fits, and whether a larger one can still be seen and set aside."""
    largest, ours = int(kafka.configs()["max.message.bytes"]), site.kafka.kafka_max_record_bytes
    told = f"max.message.bytes is {largest}, LAKEMILL_KAFKA_MAX_RECORD_BYTES is {ours}"
    if largest < ours + _BATCH_BYTES:
        return failed(f"{told}: the broker refuses records that we accepted")
    if largest < RECORD_ROOM * ours:
        return warned(f"{told}: an oversized record is refused by the broker and leaves no dead letter")
    return passed(told)


def rights(site: Site, kafka: "KafkaAnswers") -> Result:
    """Judge what our principal may do. A cluster without an authorizer allows everything to everybody, and says so."""
    may = kafka.topic().operations
    plane, needed = ("control plane", {"WRITE", "DESCRIBE"}) if site.has_control else ("sensor", {"READ", "DESCRIBE"})
    told = f"may {', '.join(sorted(may)) or 'nothing'}"
    if missing := needed - may:
        return failed(f"the {plane} needs {', '.join(sorted(missing))}; our principal {told}")
    if too_much := [operation for operation in _DANGEROUS if operation in may]:
        return warned(
            f"our principal may also {', '.join(too_much)}: the cluster has no authorizer, or it is given too much"
        )
    return passed(f"our principal {told}")


def connected(judge: Callable[[Site, "KafkaAnswers"], Result]) -> Callable[[Site], Result]:
    """Return a check's ``run``: ``judge`` over one connection, which all checks of Kafka share."""

    def run(site: Site) -> Result:
        from resources.kafka.probe import KafkaProbe, SettingsHiddenError

        kafka = site.once("kafka", lambda: KafkaProbe(site.kafka), KafkaProbe.close)
        try:
            return judge(site, kafka)
        except SettingsHiddenError as error:
            return warned(f"cannot be checked: {error}")

    return run


CHECKS = (
    Check(
        "kafka.reachable",
        Group.KAFKA,
        "Does a broker of LAKEMILL_KAFKA_BOOTSTRAP answer within ten seconds, under the security protocol that is set, "
        "and name a controller?",
        "Check LAKEMILL_KAFKA_BOOTSTRAP, the addresses that the brokers advertise, LAKEMILL_KAFKA_SECURITY_PROTOCOL, "
        "the CA file and the SASL user.",
        connected(reachable),
    ),
    Check(
        "kafka.tls",
        Group.KAFKA,
        "Is the connection to the brokers encrypted, unless it stays on this host?",
        "Set LAKEMILL_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL, and LAKEMILL_KAFKA_CA_FILE for an authority of your "
        "own.",
        connected(tls),
    ),
    Check(
        "kafka.topic",
        Group.KAFKA,
        "Does the topic exist, with as many partitions as `--partitions` says, and a leader for each?",
        "Run `lakemill topics ensure`, which also says how to add partitions; without a leader look after the brokers.",
        connected(topic),
    ),
    Check(
        "kafka.replication",
        Group.KAFKA,
        "Do replication factor (`--replication-factor`), in-sync replicas and min.insync.replicas let a record "
        "survive a broker?",
        "Use replication factor 3 and min.insync.replicas 2. With one copy a lost disk loses records; the control "
        "plane sends them again, later.",
        connected(replication),
    ),
    Check(
        "kafka.retention",
        Group.KAFKA,
        f"Are records kept for {WANTED_RETENTION_DAYS} days or more, not bounded by size and never compacted?",
        f"Set retention.ms to {WANTED_RETENTION_DAYS * _DAY_MS} or more, retention.bytes to -1 and cleanup.policy to "
        "delete.",
        connected(retention),
    ),
    Check(
        "kafka.record_size",
        Group.KAFKA,
        "Is max.message.bytes large enough for our records, with room to see one that is too large?",
        f"Set the topic's max.message.bytes to {RECORD_ROOM} x LAKEMILL_KAFKA_MAX_RECORD_BYTES.",
        connected(record_size),
    ),
    Check(
        "kafka.rights",
        Group.KAFKA,
        "What may our principal do with the topic? (Asked of the broker; nothing is written.)",
        "Allow Write and Describe to the control plane, Read and Describe to the sensor, DescribeConfigs to whoever "
        "runs this, and nothing else; a cluster that others reach needs an authorizer.",
        connected(rights),
    ),
)
