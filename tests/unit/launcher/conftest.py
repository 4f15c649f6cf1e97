"""One Dagster instance for all tests of the launcher, and a world of its own for each."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from tests.unit.launcher.bench import World


@pytest.fixture(scope="package")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    folder = str(tmp_path_factory.mktemp("dagster"))
    # One database for all runs: to make one for each would take longer than the tests.
    where = {"module": "dagster._core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage"}
    with dg.DagsterInstance.local_temp(
        folder, {"event_log_storage": {**where, "config": {"base_dir": folder}}}
    ) as instance:
        yield instance


@pytest.fixture
def world(instance: dg.DagsterInstance, tmp_path: Path) -> World:
    return World(instance, tmp_path)
