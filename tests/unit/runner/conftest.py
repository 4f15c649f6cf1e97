"""A bench for each test of the runner."""

from pathlib import Path

import pytest

from tests.unit.runner.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
