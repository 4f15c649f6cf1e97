"""Following what was accepted, through an API that is busy, away, or asked no faster than a tenant may."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from structlog.testing import capture_logs

from contracts.problems import ProblemError
from contracts.states import State
from resources.settings import ControlSettings
from tests.integration.live_api import live_api
from tests.integration.memory_lake import MemoryLake
from tests.integration.postgres import free_port
from tests.integration.shell import SUBMIT, Shell

_SECONDS = 60


@pytest.fixture
def shell(settings: ControlSettings) -> Iterator[Shell]:
    lake = MemoryLake()
    with capture_logs(), live_api(settings, lake) as (url, key):
        yield Shell(settings, lake, url, key)


class Nobody(BaseHTTPRequestHandler):
    """What stands at the address of an API that is away: at first it says so, then it hangs up."""

    def do_GET(self) -> None:
        asked: list[float] = self.server.asked_at  # type: ignore[attr-defined]
        asked.append(time.monotonic())
        if len(asked) == 1:
            self.send_response(503)
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(json.dumps(ProblemError("database_unavailable", "it is away").document()).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


@contextmanager
def nobody(port: int) -> Iterator[list[float]]:
    """Yield when it was asked, by the monotonic clock."""
    server = HTTPServer(("127.0.0.1", port), Nobody)
    asked_at: list[float] = []
    server.asked_at = asked_at  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield asked_at
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two looks at the condition


def test_an_api_that_goes_away_and_comes_back_does_not_end_a_watch(settings: ControlSettings) -> None:
    lake, port = MemoryLake(), free_port()
    with capture_logs(), ThreadPoolExecutor(1) as other:
        with live_api(settings, lake, port) as (url, key):
            shell = Shell(settings, lake, url, key)
            process_id = shell.ask(*SUBMIT)["process_id"]
            watching = other.submit(shell.run, "watch", process_id, "--timeout", str(_SECONDS))
            seen = 'route="/v1/processes/{process_id}",status="200"'
            until(lambda: seen in httpx.get(f"{url}/metrics").text)
        with nobody(port) as asked_at:
            until(lambda: len(asked_at) > 2)
        shell.commit(process_id)
        with live_api(settings, lake, port):
            watched = watching.result()
    assert asked_at[1] - asked_at[0] >= 1, "it waits as long as it was told"
    told = watched.stderr
    assert told.count("503 database_unavailable: it is away") == told.count("RemoteProtocolError") == 1
    lines = watched.stdout.splitlines()
    assert lines[0] == process_id
    assert lines[-1].endswith("succeeded (attempt 1)")


def test_a_tenant_of_one_request_a_second_follows_what_it_asked_for(shell: Shell) -> None:
    process_id = shell.ask(*SUBMIT)["process_id"]
    shell.commit(process_id)
    shell.limit(requests_per_second=1)
    watched = shell.run(*SUBMIT, "--use-existing", "--watch", "--json")
    assert json.loads(watched.stdout)["state"] == State.SUCCEEDED
    assert watched.stderr.splitlines()[0] == process_id


def test_what_was_accepted_is_told_first_and_what_was_met_last(shell: Shell) -> None:
    shell.limit(requests_per_second=0.01)
    late = shell.run(*SUBMIT, "--watch", "--json", "--timeout", "1", code=6)
    assert late.stdout == ""
    process_id, *_, last = late.stderr.splitlines()
    assert last.startswith(f"lakemill: process {process_id}: not seen yet after 1 s; last met: 429 too_many_requests")
    shell.limit()
    assert [each["process_id"] for each in shell.ask("ls")] == [process_id]


def test_an_api_that_stays_away_is_waited_for_until_the_timeout(shell: Shell) -> None:
    away = shell.run("backfill", "watch", "x", "--timeout", "1", code=6, LAKEMILL_API_URL="http://127.0.0.1:1")
    assert "backfill x: not seen yet after 1 s; last met: http://127.0.0.1:1 does not answer" in away.stderr


def test_a_backfill_is_followed_to_its_end_whatever_its_state(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "entities").write_text("cust_8842\n")
    created = shell.ask("backfill", "create", "ingest", "v1", "--entities", str(tmp_path / "entities"))
    watch = ("backfill", "watch", created["backfill_id"], "--timeout")
    assert "still expanding after 1 s" in shell.run(*watch, "1", code=6).stderr
    shell.expand()
    assert shell.ask("backfill", "pause", created["backfill_id"])["state"] == "paused"
    assert "still paused after 1 s" in shell.run(*watch, "1", code=6).stderr
    shell.commit(shell.ask("ls")[0]["process_id"])
    shell.limit(requests_per_second=1)
    assert shell.ask("backfill", "show", created["backfill_id"])["state"] == "paused"
    shell.run(*watch, str(_SECONDS))


def test_a_cancelled_backfill_that_left_entities_out_is_no_success(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "entities").write_text("cust_8842\n")
    created = shell.ask("backfill", "create", "ingest", "v1", "--entities", str(tmp_path / "entities"))
    assert shell.ask("backfill", "cancel", created["backfill_id"])["state"] == "cancelling"
    shell.expand()
    found = shell.ask("backfill", "show", created["backfill_id"])
    assert (found["state"], found["looked_at"], found["processes"]) == ("cancelled", 0, {})
    shell.run("backfill", "watch", created["backfill_id"], code=1)
