"""The two coordinates of every dataset as Dagster's partitions, and how a run knows what it was launched for."""

from dagster import DagsterInstance, DynamicPartitionsDefinition, MultiPartitionKey, MultiPartitionsDefinition

from contracts.identity import safe_id

LAUNCH_TAG = "lakemill/launch_id"
PROCESS_TAG = "lakemill/process_id"
"""Tags of a run that the sensor launched. A run without them was started by an operator."""

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
