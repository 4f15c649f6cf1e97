"""The commands against a real server: what they print, and the exit codes that a script goes by."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from cli.main import app
from contracts.states import State
from control.accepting.inputs import InputCheck
from control.backfills.expansion import Expander
from control.outcomes import settle_by_commit
from control.reconciling.reconciler import Reconciler
from resources.database import Database
from resources.settings import ControlSettings
from tests.integration.live_api import live_api
from tests.integration.memory_lake import MemoryLake, place

SUBMIT = ("submit", "cust_8842", "v1", "ingest")


class Shell:
    """A user's shell, with the API and a key in its environment."""

    def __init__(self, settings: ControlSettings, lake: MemoryLake, url: str, key: str) -> None:
        self.settings, self.lake = settings, lake
        self.env = {"LAKEMILL_API_URL": url, "LAKEMILL_API_KEY": key, "COLUMNS": "200"}

    def run(self, *arguments: str, code: int = 0, **env: str) -> Result:
        result = CliRunner().invoke(app, arguments, env={**self.env, **env})
        assert result.exit_code == code, result.output
        return result

    def ask(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def commit(self, process_id: str) -> None:
        """Let a process succeed."""
        self.lake.commit(place(), UUID(process_id))

        async def settle() -> None:
            db = Database(self.settings.database_url)
            await settle_by_commit(db, self.lake, UUID(process_id))
            await db.close()

        asyncio.run(settle())

    def expand(self) -> None:
        """Let a worker do what is to be done about backfills."""

        async def work() -> None:
            db = Database(self.settings.database_url)
            expander = Expander(db, self.lake, InputCheck(db, self.lake), self.settings)
            while await expander.step():
                pass
            await Reconciler(db, self.lake, None, self.settings).reconcile()
            await expander.step()
            await db.close()

        asyncio.run(work())


@pytest.fixture
def shell(settings: ControlSettings) -> Iterator[Shell]:
    lake = MemoryLake()
    # Its log would be in the commands' output, which is captured in this process.
    with capture_logs(), live_api(settings, lake) as (url, key):
        yield Shell(settings, lake, url, key)


def test_a_process_from_submit_to_retry(shell: Shell) -> None:
    process_id = shell.ask(*SUBMIT, "--params", '{"n": 1}', "--priority", "3")["process_id"]
    shown = shell.run("status", process_id).stdout
    assert all(words in shown for words in (process_id, "ingest", "accepted", "waits: 0 of yours go before it"))
    assert shell.ask("cancel", process_id)["state"] == State.CANCELLED
    assert shell.run("watch", process_id, code=1).stdout.splitlines()[-1].endswith("cancelled (attempt 1)")
    again = shell.ask("retry", process_id)["process_id"]
    assert shell.ask("status", again)["retry_of"] == process_id
    listed = shell.run("ls").stdout
    assert listed.index(again) < listed.index(process_id)
    assert [each["process_id"] for each in shell.ask("ls", "--state", "cancelled")] == [process_id]
    assert shell.ask("ls", "--limit", "1")[0]["process_id"] == again


def test_what_has_succeeded_ends_well(shell: Shell) -> None:
    process_id = shell.ask(*SUBMIT)["process_id"]
    shell.commit(process_id)
    assert shell.ask("watch", process_id)["snapshot"]["rows"] == 3
    assert "3 rows" in shell.run("status", process_id).stdout
    joined = shell.ask(*SUBMIT, "--use-existing", "--watch")
    assert joined["process_id"] == process_id
    assert "version_already_published" in shell.run(*SUBMIT, code=4).stderr


def test_a_preview_and_a_repeated_submit(shell: Shell) -> None:
    assert shell.ask(*SUBMIT, "--dry-run")["dataset"] == "raw"
    assert shell.ask("ls") == []
    first, second = (shell.ask(*SUBMIT, "--key", "k-1") for _ in range(2))
    assert first == second
    assert "ingest" in shell.run(*SUBMIT, "--key", "k-1").stdout


def test_what_does_not_end_in_time_has_an_exit_code_of_its_own(shell: Shell) -> None:
    result = shell.run(*SUBMIT, "--watch", "--timeout", "1", code=6)
    assert "still accepted" in result.stderr
    assert "accepted (attempt 1)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("status", str(uuid4())), 4, "not_found"),
        (("submit", "../etc", "v1", "ingest"), 4, "validation_failed"),
        ((*SUBMIT, "--params", "{"), 2, "not JSON"),
        ((*SUBMIT, "--params", "[]"), 2, "JSON object"),
        ((*SUBMIT, "--priority", "11"), 2, "priority"),
        (("ls", "--state", "lost"), 4, "validation_failed"),
    ],
)
def test_each_mistake_has_its_exit_code(shell: Shell, arguments: tuple[str, ...], code: int, words: str) -> None:
    result = shell.run(*arguments, code=code)
    assert words in result.stderr
    assert shell.ask("ls") == []


def test_a_key_that_is_wrong_or_missing_and_an_api_that_is_away(shell: Shell) -> None:
    assert "unauthorized" in shell.run("ls", code=4, LAKEMILL_API_KEY="lm_no").stderr
    assert "does not answer" in shell.run("ls", code=5, LAKEMILL_API_URL="http://127.0.0.1:1").stderr
    del shell.env["LAKEMILL_API_KEY"]
    assert "LAKEMILL_API_KEY" in shell.run("ls", code=3).stderr


def test_a_backfill_from_preview_to_its_end(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "entities").write_text("e-1\n\n e-2\n")
    asked = ("backfill", "create", "ingest", "v1", "--entities", str(tmp_path / "entities"))
    assert shell.ask(*asked, "--dry-run")["entities"] == 2
    backfill_id = shell.ask(*asked, "--key", "nightly")["backfill_id"]
    assert shell.ask(*asked, "--key", "nightly")["backfill_id"] == backfill_id
    assert shell.ask("backfill", "pause", backfill_id)["state"] == "paused"
    assert shell.ask("backfill", "resume", backfill_id)["state"] == "expanding"
    shell.expand()
    assert 'processes: {"accepted": 2}' in shell.run("backfill", "show", backfill_id).stdout
    assert f"{backfill_id}  ingest v1  expanded  2 of 2" in shell.run("backfill", "ls").stdout
    assert len(shell.ask("ls")) == 2
    assert shell.ask("backfill", "cancel", backfill_id)["state"] == "cancelling"
    shell.expand()
    shell.run("backfill", "watch", backfill_id, code=1)
    assert "unknown_action" in shell.run("backfill", "create", "no", "v1", "--pattern", "*", code=4).stderr
