"""A setting that is missing, and one that is set and refused, are told apart; no value is ever shown."""

from collections.abc import Iterator, Mapping

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner, Result

from cli.main import app
from cli.settings import setting_errors
from resources.settings import ControlSettings, control_settings, lake_settings

CANARY = "short-canary"
GOOD = {"database_url": "postgresql://", "internal_secret": "internal-secret-of-the-tests"}


def told(settings: Mapping[str, object]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        ControlSettings.model_validate(settings)
    return setting_errors(caught.value)


def test_what_is_missing_is_not_configured_and_what_is_refused_says_why() -> None:
    assert told({"internal_secret": CANARY}) == [
        "LAKEMILL_INTERNAL_SECRET must have at least 24 characters",
        "Not configured: LAKEMILL_DATABASE_URL",
    ]


def test_a_message_that_does_not_name_its_variable_gets_the_name() -> None:
    (found,) = told(GOOD | {"max_in_flight": "canary"})
    assert found == "LAKEMILL_MAX_IN_FLIGHT: Input should be a valid integer, unable to parse string as an integer"


def test_what_two_settings_break_together_names_both() -> None:
    (found,) = told(GOOD | {"retain_processes_days": 1})
    assert found == "LAKEMILL_RETAIN_PROCESSES_DAYS must be at least LAKEMILL_RETAIN_IDEMPOTENCY_DAYS"


@pytest.fixture(autouse=True)
def unread() -> Iterator[None]:
    """Let the commands read the environment, and forget what they read."""
    for read in (control_settings, lake_settings):
        read.cache_clear()
    yield
    for read in (control_settings, lake_settings):
        read.cache_clear()


def lakemill(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, arguments, env=env)


def test_commands_on_the_database_say_why_a_secret_is_refused() -> None:
    done = lakemill("keys", "ls", LAKEMILL_DATABASE_URL="postgresql://", LAKEMILL_INTERNAL_SECRET=CANARY)
    assert (done.exit_code, "at least 24 characters" in done.stderr) == (3, True), done.output
    assert ("Not configured" in done.stderr, CANARY in done.output) == (False, False)


@pytest.mark.parametrize("command", [("snapshots", "ls"), ("land", "acme", "v1", "orders", __file__)])
def test_commands_on_the_lake_say_why_an_authority_is_refused(command: tuple[str, ...]) -> None:
    done = lakemill(*command, LAKEMILL_S3_CA_FILE="/nowhere.pem")
    assert (done.exit_code, "LAKEMILL_S3_CA_FILE (/nowhere.pem) is not a readable PEM" in done.stderr) == (3, True)
    assert "validation error" not in done.output
