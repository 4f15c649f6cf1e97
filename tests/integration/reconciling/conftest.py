"""The reconciler that most of these tests are about."""

import pytest

from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.reconciling.rig import Rig


@pytest.fixture
def rig(db: Database, settings: ControlSettings) -> Rig:
    return Rig(db, settings)
