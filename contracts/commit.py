"""The commit: one Delta Lake log entry that makes a snapshot exist, and that no Delta writer may follow.

Format: the public Delta transaction log protocol, version 0 of a table, with the writer feature ``lakemillSealed``,
which no writer knows: readers read, writers refuse. The ``lakemill.*`` properties carry the provenance.
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID, uuid5

from pydantic import Field

from contracts.delta_entry import FORMAT, VERSION_PROPERTY, read_entry
from contracts.identity import Coordinate, Token
from contracts.model import Frozen
from contracts.storage import DATA_FILE, MAX_FILES, STORAGE_CONTRACT_VERSION, CorruptSnapshotError
from contracts.strict_json import loads

PROTOCOL = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["appendOnly", "lakemillSealed"]}
_TABLE_NAMESPACE = UUID("6f0f3b1e-6f3c-5a53-9d0b-1d8f3a0c7a11")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPTIONAL = {"process_id", "attempt", "tenant"}
_JSON_FIELDS = {"inputs", "params", "checks", "resources", "stages"}
ETAG_TAG = "lakemill.etag"


class DataFile(Frozen):
    """One Parquet file of a snapshot, as its footer describes it."""

    name: str
    """Path below the token folder."""
    size: int = Field(gt=0)
    rows: int = Field(ge=0)
    null_counts: dict[str, int] = Field(default_factory=dict)
    min_values: dict[str, Any] = Field(default_factory=dict)
    max_values: dict[str, Any] = Field(default_factory=dict)
    etag: str | None = None
    """The store's mark of the content, as it lists it; another one means other bytes. None where there is none."""

    @property
    def columns(self) -> set[str]:
        """The columns that its statistics name."""
        return {*self.null_counts, *self.min_values, *self.max_values}


class InputUsed(Frozen):
    """One input as it was read: where, and SHA-256 (hex) of its commit (None for landing files)."""

    path: str
    commit_digest: str | None


class CheckResult(Frozen):
    """One declared check and what was measured."""

    name: str
    passed: bool
    measured: str


class Provenance(Frozen):
    """The ``lakemill.*`` properties: who computed this, from what, with which code, and what was measured."""

    token: Token
    run_id: str
    process_id: UUID | None
    attempt: int | None
    tenant: str | None
    action: str
    action_digest: str
    inputs: dict[str, InputUsed]
    params: dict[str, Any]
    checks: list[CheckResult]
    resources: dict[str, Any] = Field(default_factory=dict)
    stages: dict[str, datetime] = Field(default_factory=dict)


class Commit(Frozen):
    """A whole commit, in memory. ``encode`` and ``parse`` are inverse."""

    coordinate: Coordinate
    committed_at: datetime
    schema_string: str
    """The Spark schema as JSON (``df.schema.json()``)."""
    files: list[DataFile] = Field(max_length=MAX_FILES)
    provenance: Provenance

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """Return the log entry: one JSON action per line."""
        millis = (self.committed_at - _EPOCH) // timedelta(milliseconds=1)  # floats would lose one now and then
        actions: list[dict[str, Any]] = [
            {"commitInfo": {"timestamp": millis, "operation": "LAKEMILL COMMIT", "engineInfo": "lakemill"}},
            {"protocol": PROTOCOL},
            {"metaData": self._metadata(millis)},
            *({"add": self._add(file, millis)} for file in self.files),
        ]
        return spelled(actions)

    def _metadata(self, millis: int) -> dict[str, Any]:
        return {
            "id": str(uuid5(_TABLE_NAMESPACE, self.provenance.token)),
            "format": FORMAT,
            "schemaString": self.schema_string,
            "partitionColumns": [],
            "createdTime": millis,
            "configuration": {
                "delta.appendOnly": "true",
                VERSION_PROPERTY: str(STORAGE_CONTRACT_VERSION),
                "lakemill.coordinate": str(self.coordinate),
                **_properties(self.provenance),
            },
        }

    def _add(self, file: DataFile, millis: int) -> dict[str, Any]:
        stats = {
            "numRecords": file.rows,
            "minValues": file.min_values,
            "maxValues": file.max_values,
            "nullCount": file.null_counts,
        }
        return {
            "path": f"{self.provenance.token}/{file.name}",
            "partitionValues": {},
            "size": file.size,
            "modificationTime": millis,
            "dataChange": True,
            "stats": json.dumps(stats, separators=(",", ":")),
            **({"tags": {ETAG_TAG: file.etag}} if file.etag is not None else {}),
        }

    @classmethod
    def parse(cls, data: bytes, coordinate: Coordinate) -> Self:
        """Read a commit back.

        Raises ForeignSnapshotError for somebody else's Delta table, NewerSnapshotError for a later contract's commit,
        and CorruptSnapshotError when it is not whole, belongs elsewhere, names foreign files, or means other rows.
        """
        try:
            found, adds = read_entry(data, coordinate)
            if found["protocol"] != PROTOCOL:
                raise CorruptSnapshotError(f"{coordinate}: the commit is not sealed by Lakemill")
            properties = found["metaData"]["configuration"]
            if properties["lakemill.coordinate"] != str(coordinate):
                raise CorruptSnapshotError(f"{coordinate}: the commit belongs to {properties['lakemill.coordinate']}")
            provenance = _provenance(properties)
            return cls(
                coordinate=coordinate,
                committed_at=_EPOCH + timedelta(milliseconds=found["commitInfo"]["timestamp"]),
                schema_string=found["metaData"]["schemaString"],
                files=_files(adds, provenance.token),
                provenance=provenance,
            )
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise CorruptSnapshotError(f"{coordinate}: the commit cannot be read: {error}") from error


def spelled(actions: list[dict[str, Any]]) -> bytes:
    """Return a log entry's bytes in canonical form, the fields in the order in which they stand."""
    return b"".join(json.dumps(action, separators=(",", ":")).encode() + b"\n" for action in actions)


def digest(data: bytes) -> str:
    """Return SHA-256 (hex) of a commit's bytes: the snapshot's fingerprint, because the commit names every file."""
    return hashlib.sha256(data).hexdigest()


def properties_schema() -> dict[str, Any]:
    """Return the JSON Schema of a commit's ``metaData.configuration``: every value is text, some of it JSON."""
    model = Provenance.model_json_schema()
    required = {name for name, field in Provenance.model_fields.items() if name not in _OPTIONAL}
    properties = {f"lakemill.{name}": _property_schema(name, schema) for name, schema in model["properties"].items()}
    fixed = {
        "delta.appendOnly": {"const": "true"},
        VERSION_PROPERTY: {"const": str(STORAGE_CONTRACT_VERSION)},
        "lakemill.coordinate": {"type": "string", "description": "entity_id/data_version/dataset"},
    }
    return {
        "title": "SnapshotProperties",
        "description": "metaData.configuration of a commit, storage contract 1.",
        "type": "object",
        "properties": fixed | properties,
        "required": [*fixed, *sorted(f"lakemill.{name}" for name in required)],
        "additionalProperties": {"type": "string"},
        "$defs": model["$defs"],
    }


def _property_schema(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if name in _JSON_FIELDS:
        content = {key: value for key, value in schema.items() if key != "title"}
        return {"type": "string", "contentMediaType": "application/json", "contentSchema": content}
    variants = schema.get("anyOf", [schema])
    (told,) = [variant for variant in variants if variant["type"] != "null"]
    rules = {key: value for key, value in told.items() if key in {"format", "pattern"}}
    return {"type": "string", **({"pattern": "^[0-9]+$"} if told["type"] == "integer" else rules)}


def _properties(provenance: Provenance) -> dict[str, str]:
    values = provenance.model_dump(mode="json")
    return {
        f"lakemill.{name}": json.dumps(value, sort_keys=True) if name in _JSON_FIELDS else str(value)
        for name, value in values.items()
        if value is not None
    }


def _provenance(properties: dict[str, str]) -> Provenance:
    known = {name: properties.get(f"lakemill.{name}") for name in Provenance.model_fields}
    return Provenance.model_validate(
        {name: loads(text.encode()) if text and name in _JSON_FIELDS else text for name, text in known.items()}
    )


def _files(adds: list[dict[str, Any]], token: str) -> list[DataFile]:
    files = [_file(add, token) for add in adds]
    if len({file.name for file in files}) != len(files):
        raise ValueError("a file stands in it twice")
    return files


def _file(add: dict[str, Any], token: str) -> DataFile:
    folder, _, name = add["path"].partition("/")
    if folder != token or not DATA_FILE.fullmatch(name):
        raise ValueError(f"file {add['path']!r} lies outside the token folder")
    stats = loads(add["stats"].encode())
    return DataFile(
        name=name,
        size=add["size"],
        rows=stats["numRecords"],
        null_counts=stats["nullCount"],
        min_values=stats["minValues"],
        max_values=stats["maxValues"],
        etag=add.get("tags", {}).get(ETAG_TAG),
    )
