"""The relay that most of these tests release to."""

import pytest

from tests.integration.releasing.accidental_relay import AccidentalRelay
from tests.memory_log import MemoryLog


@pytest.fixture
def relay() -> AccidentalRelay:
    return AccidentalRelay(MemoryLog())
