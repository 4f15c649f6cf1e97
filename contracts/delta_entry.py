"""An entry of a Delta log as it is read: whose it is first, then its actions. The commit gives them their meaning."""

import re
from typing import Any

from contracts.identity import Coordinate
from contracts.storage import STORAGE_CONTRACT_VERSION, ForeignSnapshotError, NewerSnapshotError
from contracts.strict_json import loads

VERSION_PROPERTY = "lakemill.contract_version"
"""Where every contract says which one it is; a reader looks at it before anything else."""
FORMAT = {"provider": "parquet", "options": {}}
_SINGLE_ACTIONS = {"commitInfo", "protocol", "metaData"}
_LATER = re.compile(r"^[1-9][0-9]{0,3}\Z")


def read_entry(data: bytes, coordinate: Coordinate) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the single actions of an entry by kind, and its files (``add``), for a commit of this contract.

    Raises ForeignSnapshotError, NewerSnapshotError, and ValueError, TypeError, KeyError or AttributeError for what is
    no such entry, holds any other action, or means other rows than those that stand in its files.
    """
    lines = _lines(data)
    _check_version(lines, coordinate)
    single, adds = _split(lines)
    _refuse_other_rows(single["metaData"], adds)
    return single, adds


def _lines(data: bytes) -> list[tuple[str, Any]]:
    """Return the actions of a log entry: kind and body. Raises ValueError and its like for anything else."""
    lines = []
    for line in data.splitlines():
        ((kind, body),) = loads(line).items()
        lines.append((kind, body))
    return lines


def _check_version(lines: list[tuple[str, Any]], coordinate: Coordinate) -> None:
    """Return when a commit of this contract was meant to be there, whatever else is wrong with it."""
    properties = next((body["configuration"] for kind, body in lines if kind == "metaData"), None)
    if properties is None:
        raise ValueError("it has no metaData")
    version = properties.get(VERSION_PROPERTY)
    if version is None:
        raise ForeignSnapshotError(f"{coordinate}: a Delta table lies there that Lakemill did not write")
    if version == str(STORAGE_CONTRACT_VERSION):
        return
    if not _LATER.match(version):
        raise ValueError(f"{version[:40]!r} is not a version of the storage contract")
    told = f"written by storage contract {version}, and this Lakemill reads {STORAGE_CONTRACT_VERSION}"
    raise NewerSnapshotError(f"{coordinate}: {told}; upgrade it")


def _split(lines: list[tuple[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    single: dict[str, Any] = {}
    adds: list[dict[str, Any]] = []
    for kind, body in lines:
        if kind == "add":
            adds.append(body)
        elif kind in _SINGLE_ACTIONS and kind not in single:
            single[kind] = body
        else:
            raise ValueError(f"action {str(kind)[:40]!r} has no place in a sealed commit")
    return single, adds


def _refuse_other_rows(metadata: dict[str, Any], adds: list[dict[str, Any]]) -> None:
    """Return when every Delta reader sees the rows of the files as they stand there, all of them and in no other way.

    A partitioned table's readers take values from the log in the place of the file's; a deletion vector hides rows.
    """
    if metadata["format"] != FORMAT or metadata["partitionColumns"] != []:
        raise ValueError("it is partitioned, or not of Parquet")
    for add in adds:
        if add["partitionValues"] != {} or "deletionVector" in add:
            raise ValueError(f"file {add['path']!r} has partition values or a deletion vector")
