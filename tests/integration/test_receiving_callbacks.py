"""The page about receiving: its receiver works as it stands there, and it names every field."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from contracts.callbacks import Artifact, CallbackData, Timings
from control.callbacks.sending import signed_headers
from control.tenancy.webhook_secrets import new_secret
from tests.integration.postgres import free_port
from tests.test_architecture import ROOT

PAGE = (ROOT / "docs" / "receiving-callbacks.md").read_text()


@pytest.fixture
def code() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture
def receiver(code: str, tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield the URL of the page's own receiver, its secret, and its database."""
    port, secret, database = free_port(), new_secret(), tmp_path / "callbacks.db"
    command = [sys.executable, "-c", code, secret, str(port), str(database)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}/hook", secret, database
        process.kill()


def stored(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as db:
        return [row[0] for row in db.execute("SELECT id FROM callbacks")]


def test_the_receiver_stores_each_callback_once_and_no_forged_one(receiver: tuple[str, str, Path]) -> None:
    url, secret, database = receiver
    webhook_id, body = uuid4(), '{"type":"process.succeeded"}'
    client = httpx.Client(transport=httpx.HTTPTransport(retries=8), trust_env=False)
    forged = client.post(url, content=body, headers=signed_headers(webhook_id, body, [new_secret()], datetime.now(UTC)))
    assert (forged.status_code, stored(database)) == (401, [])
    # While a secret is replaced there are two signatures.
    headers = signed_headers(webhook_id, body, [new_secret(), secret], datetime.now(UTC))
    for _ in range(3):
        assert client.post(url, content=body, headers=headers).status_code == 204
    assert stored(database) == [str(webhook_id)]


def test_the_receiver_is_short(code: str) -> None:
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 20


def test_every_field_is_on_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert {*CallbackData.model_fields, *Artifact.model_fields, *Timings.model_fields} <= named
