"""All checks, in the order they are made: what others rest on comes first."""

from cli.doctor import callbacks, cluster, contract, direct_topics, images, kafka, postgres, storage
from cli.doctor.check import Check

ALL: tuple[Check, ...] = (
    *postgres.CHECKS,
    direct_topics.TENANTS,
    *kafka.CHECKS,
    direct_topics.TOPICS,
    *storage.CHECKS,
    *contract.CHECKS,
    *cluster.CHECKS,
    *images.CHECKS,
    *callbacks.CHECKS,
)
