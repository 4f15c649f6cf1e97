"""What holds for every test."""

import signal

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

# A busy machine makes an example slow, not wrong.
settings.register_profile("lakemill", parent=settings(), deadline=None)
settings.load_profile("lakemill")

# A suite that is started in the background ignores SIGINT. Dagster then has SIGTERM ignored as well, and so would every
# process that a test starts and means to end.
signal.signal(signal.SIGINT, signal.default_int_handler)


class OneServerEach(LoadScopeScheduling):  # type: ignore[misc]  # published without types
    """Keeps the tests of one file, and all on the one Spark, in one process when several share the tests.

    ``--dist loadscope`` alone keeps modules together; the marks of ``loadgroup`` pytest 9.2 does not look at any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return "spark" if file.startswith("tests/integration/spark/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config) -> OneServerEach:
    return OneServerEach(config)
