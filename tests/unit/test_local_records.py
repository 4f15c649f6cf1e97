import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deploy.local.records import Records, ServerRecord, birth, leader, members, strays

FOREVER = "import time; time.sleep(600)"
LEAVES_A_CHILD = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {FOREVER!r}])"


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"


@pytest.fixture
def record() -> Iterator[ServerRecord]:
    process = subprocess.Popen([sys.executable, "-c", FOREVER], start_new_session=True)
    yield record_of(process)
    process.kill()
    process.wait()


def record_of(process: subprocess.Popen[bytes]) -> ServerRecord:
    born = birth(psutil.Process(process.pid))
    return ServerRecord(
        "api", process.pid, born, time.time(), "127.0.0.1:1", "api.log", stop_signal=15, wave=0, grace=1
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path, record: ServerRecord) -> None:
    records = Records(tmp_path)
    assert records.read("api") is None
    records.write(record)
    records.write(replace(record, name="first", started_at=1.0))
    assert [found.name for found in records.all()] == ["first", "api"]
    records.mark_stopping(record)
    assert records.read("api") == replace(record, stopping=True)
    records.remove("api")
    records.remove("api")
    assert records.read("api") is None


def test_a_living_server_is_found(record: ServerRecord) -> None:
    assert (found := leader(record)) is not None
    assert [process.pid for process in members(record)] == [found.pid]


def test_a_process_that_got_the_id_of_a_dead_server_is_not_that_server(record: ServerRecord) -> None:
    before = replace(record, create_time=record.create_time - 60)
    assert leader(before) is None
    assert members(before) == []


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", FOREVER], start_new_session=True)
    record = record_of(process)
    process.kill()
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert leader(record) is None
    assert members(record) == []
    process.wait()


def test_children_of_a_dead_server_are_found() -> None:
    process = subprocess.Popen([sys.executable, "-c", LEAVES_A_CHILD], start_new_session=True)
    record = record_of(process)
    process.wait()
    (child,) = members(record)
    assert leader(record) is None
    child.kill()


def test_a_process_that_left_its_session_is_found_by_its_mark(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", FOREVER], env={"LAKEMILL_STACK": str(tmp_path)})
    until(lambda: [found.pid for found in strays(tmp_path)] == [process.pid])
    process.kill()
    process.wait()
    assert strays(tmp_path) == []
