"""The API killed (-9) while it takes in a direct topic's record: shown again, the record is one process."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.intake import INTAKE_PATH
from contracts.signing import SIGNATURE_HEADER, sign
from contracts.strict_json import canonical
from control.tables import processes
from tests.integration.control_plane import ControlPlane
from tests.integration.postgres import free_port
from tests.integration.tenant import make_tenant
from tests.integration.test_api_killed import Api
from tests.integration.test_direct_records import ACME, ask, record

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEMILL_DIRECT_TOPICS", f"{ACME}=acme")


def show(api: Api) -> list[dict[str, Any]]:
    content = canonical({"persisted": {"topics": {}}, "actions": {}, "records": [record(ask(), 3)]})
    header = sign(api.plane.settings.internal_secret.get_secret_value(), "POST", INTAKE_PATH, content)
    url = f"http://127.0.0.1:{api.port}{INTAKE_PATH}"
    answers: list[dict[str, Any]] = httpx.post(
        url, content=content, headers={SIGNATURE_HEADER: header}, timeout=20
    ).json()["answers"]
    return answers


@pytest.mark.parametrize(("point", "verdict"), [("A1", "accepted"), ("A3", "duplicate"), ("S2", "duplicate")])
async def test_killed_while_it_takes_in(plane: ControlPlane, tmp_path: Path, point: str, verdict: str) -> None:
    await make_tenant(plane, "acme")
    api = Api(plane, tmp_path, free_port())
    (tmp_path / point).write_text("kill")
    with api.started() as killed:
        with pytest.raises(httpx.TransportError):
            show(api)
        assert killed.wait(10) == -9
    assert len(await plane.rows(processes)) == (verdict == "duplicate")
    with api.started():
        (answer,) = show(api)
        (again,) = show(api)
    assert (answer["verdict"], again["verdict"]) == (verdict, "duplicate")
    (row,) = await plane.rows(processes)
    assert str(row["id"]) == answer["reason"] == again["reason"]
