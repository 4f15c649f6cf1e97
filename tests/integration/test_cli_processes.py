"""The commands against a real server: what they print, and the exit codes that a script goes by."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from contracts.states import State
from resources.settings import ControlSettings
from tests.integration.live_api import live_api
from tests.integration.memory_lake import DIGEST, MemoryLake
from tests.integration.shell import SUBMIT, Shell


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
    again = shell.ask("retry", process_id, "--key", "again")["process_id"]
    assert shell.ask("retry", process_id, "--key", "again")["process_id"] == again
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


WHOLE = {
    "entity_id": "cust_8842",
    "data_version": "v1",
    "action_type": "ingest",
    "callback_url": "https://127.0.0.1/hook",
    "resource_profile": {"driver_cores": 1, "executor_instances": 3, "executor_memory": "1g"},
    "params": {"n": 1},
    "priority": 4,
    "deadline_seconds": 3600,
    "action_digest": DIGEST,
}


def test_a_whole_request_from_a_file_or_from_standard_input(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(WHOLE))
    previewed = shell.ask("submit", "--request", str(file), "--dry-run")
    assert previewed["profile"]["requested"]["executor_instances"] == 3
    assert previewed["callback_url"] == WHOLE["callback_url"]
    accepted = shell.ask("submit", "--request", "-", "--key", "k-1", stdin=json.dumps(WHOLE))
    assert shell.ask("submit", "--request", str(file), "--key", "k-1") == accepted
    shell.ask("cancel", accepted["process_id"])
    other = {**WHOLE, "action_digest": "0" * 64}
    assert "action_changed" in shell.run("submit", "--request", "-", code=4, stdin=json.dumps(other)).stderr


def test_inputs_that_lie_elsewhere_are_asked_for_in_a_whole_request(shell: Shell) -> None:
    shell.commit(shell.ask(*SUBMIT)["process_id"])
    raw = {"entity_id": "cust_8842", "data_version": "v1"}
    request = {**raw, "data_version": "v2", "action": "refine", "params": {"day": "x"}, "inputs": {"raw": raw}}
    previewed = shell.ask("submit", "--request", "-", "--dry-run", stdin=json.dumps(request))
    assert (previewed["data_version"], previewed["inputs"]["raw"]["data_version"]) == ("v2", "v1")


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        ((*SUBMIT, "--priority", "0", "--request", "-"), "{}", "leave out entity_id, data_version, action, --priority"),
        (("submit", "--profile", "small", "--request", "-"), "{}", "leave out --profile"),
        (("submit", "--request", "-"), '{"a": 1, "a": 2}', "stands twice"),
        (("submit", "--request", "-"), "[]", "must be a JSON object"),
        (("submit", "--request", "/nowhere"), "", "No such file"),
        (("submit",), "", "missing entity_id, data_version, action; or give the whole request with --request FILE"),
        (("submit", "cust_8842", "v1"), "", "missing action"),
    ],
)
def test_a_submit_that_says_too_much_or_too_little(
    shell: Shell, arguments: tuple[str, ...], stdin: str, words: str
) -> None:
    assert words in shell.run(*arguments, code=2, stdin=stdin).stderr


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
    asked = ("backfill", "create", "ingest", "v1", "--entities", str(tmp_path / "entities"), "--priority", "3")
    assert shell.ask(*asked, "--dry-run")["entities"] == 2
    backfill_id = shell.ask(*asked, "--key", "nightly")["backfill_id"]
    assert shell.ask(*asked, "--key", "nightly")["backfill_id"] == backfill_id
    assert shell.ask("backfill", "pause", backfill_id)["state"] == "paused"
    assert shell.ask("backfill", "resume", backfill_id)["state"] == "expanding"
    shell.expand()
    assert 'processes: {"accepted": 2}' in shell.run("backfill", "show", backfill_id).stdout
    assert f"{backfill_id}  ingest v1  expanded  2 of 2" in shell.run("backfill", "ls").stdout
    found = shell.ask("ls", "--backfill", backfill_id)
    assert [shell.ask("status", each["process_id"])["priority"] for each in found] == [3, 3]
    assert shell.ask("ls", "--backfill", str(uuid4())) == []
    assert shell.ask("backfill", "cancel", backfill_id)["state"] == "cancelling"
    shell.expand()
    shell.run("backfill", "watch", backfill_id, code=1)
    assert "unknown_action" in shell.run("backfill", "create", "no", "v1", "--pattern", "*", code=4).stderr
