"""The log's set-up: is the broker there, and does the topic exist with the settings that Lakemill needs."""

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from contracts.problems import LakemillError
from resources.kafka import connect
from resources.settings import KafkaSettings


class TopicError(LakemillError):
    """The topic cannot be made, or is not as it must be."""


def broker_answers(bootstrap: str) -> bool:
    """Return whether the cluster names a controller and lists its topics. Waits up to ten seconds for a connection."""
    try:
        admin = connect(KafkaAdminClient, KafkaSettings(kafka_bootstrap=bootstrap))
    except KafkaError:
        return False
    try:
        admin.list_topics()
    except KafkaError:
        return False
    else:
        return True
    finally:
        admin.close()


def ensure_topic(bootstrap: str, topic: str, *, partitions: int = 4, max_message_bytes: int = 4_194_304) -> None:
    """Create the topic when it is missing and wait until every partition has a leader; an existing one is left alone.

    Raises TopicError when the broker refuses, KafkaError when none answers.
    """
    wanted = {"num_partitions": partitions, "configs": {"max.message.bytes": str(max_message_bytes)}}
    admin = connect(KafkaAdminClient, KafkaSettings(kafka_bootstrap=bootstrap))
    try:
        if topic not in admin.list_topics():
            admin.create_topics({topic: wanted}, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        return
    except KafkaError as error:
        raise TopicError(f"topic {topic!r} cannot be created on {bootstrap}: {error}") from error
    finally:
        admin.close()
