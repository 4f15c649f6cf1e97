"""The two coordinates of every dataset as Dagster's partitions, and the tag that leads from a run to its process."""

from dagster import DagsterInstance, DynamicPartitionsDefinition, MultiPartitionKey, MultiPartitionsDefinition

from contracts.identity import safe_id

PROCESS_TAG = "lakemill/process_id"
"""The tag by which people find a process's run in Dagster; the run itself goes by its LAUNCH_TAG."""

DATA_VERSIONS = "data_version"
ENTITIES = "entity_id"

PARTITIONS = MultiPartitionsDefinition(
    {
        DATA_VERSIONS: DynamicPartitionsDefinition(name=DATA_VERSIONS),
        ENTITIES: DynamicPartitionsDefinition(name=ENTITIES),
    }
)
"""Never enumerated: the space is every version times every entity."""


def partition_key(entity_id: str, data_version: str) -> MultiPartitionKey:
    """Return the key of one coordinate. Raises ValueError for what is no id: Dagster's own separators are among it."""
    return MultiPartitionKey({DATA_VERSIONS: safe_id(data_version), ENTITIES: safe_id(entity_id)})


def add_keys(instance: DagsterInstance, entity_id: str, data_version: str) -> None:
    """Let Dagster's lists hold the keys of one coordinate, as they do already unless they were delisted."""
    instance.add_dynamic_partitions(DATA_VERSIONS, [data_version])
    instance.add_dynamic_partitions(ENTITIES, [entity_id])


def coordinates(key: str) -> tuple[str, str]:
    """Return (entity_id, data_version) of a partition key as Dagster writes it. Raises Dagster's CheckError."""
    parts = PARTITIONS.get_partition_key_from_str(key).keys_by_dimension
    return parts[ENTITIES], parts[DATA_VERSIONS]
