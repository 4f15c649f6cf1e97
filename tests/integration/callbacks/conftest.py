"""A sender that reaches the tests' receivers."""

import pytest

from resources.callbacks.sender import GuardedSender
from tests.integration.callbacks.deliveries import LOOPBACK


@pytest.fixture
def sender() -> GuardedSender:
    return GuardedSender(LOOPBACK, deadline_seconds=3)
