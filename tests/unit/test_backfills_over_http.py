"""Asking the API for backfills: what is sent, what is asked again, and what each refusal becomes."""

import json

import httpx
import pytest
import stamina
from pydantic import SecretStr, ValidationError

from contracts.backfills import BackfillPreview, BackfillRequest, Selector
from contracts.problems import ProblemError
from resources.backfills import BackfillRefusedError, BackfillsUnavailableError, HttpBackfills
from resources.settings import ComputeSettings
from tests.fake_backfills import FakeBackfills
from tests.unit.test_runner_control_plane import Script

KEY = "lm_0123456789ab_canary-key-of-the-tests"
REQUEST = BackfillRequest(
    action="ingest", data_version="v1", select=Selector(pattern="shop-*"), idempotency_key="schedule:nightly:x"
)
VIEW = json.loads(FakeBackfills().create("default", REQUEST)[0].model_dump_json())


def client(script: Script) -> HttpBackfills:
    settings = ComputeSettings(
        api_url="http://api.test",
        internal_secret=SecretStr("internal-secret-of-the-tests"),
        schedule_keys={"acme": SecretStr(KEY)},
    )
    return HttpBackfills(settings, patience=5, transport=httpx.MockTransport(script))


def test_it_asks_with_the_tenant_s_key_and_tells_new_from_known() -> None:
    script = Script(httpx.Response(201, json=VIEW), httpx.Response(200, json=VIEW))
    backfills = client(script)
    assert [backfills.create("acme", REQUEST)[1] for _ in range(2)] == [True, False]
    request = script.requests[0]
    assert (request.method, request.url.path, request.url.query) == ("POST", "/v1/backfills", b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(request.content) == {
        "action": "ingest",
        "data_version": "v1",
        "select": {"pattern": "shop-*"},
        "idempotency_key": "schedule:nightly:x",
    }


def test_a_preview_makes_nothing() -> None:
    script = Script(httpx.Response(200, json={"entities": 2, "published": 1, "sample": ["a"]}))
    assert client(script).preview("acme", REQUEST) == BackfillPreview(entities=2, published=1, sample=["a"])
    assert script.requests[0].url.query == b"dry_run=true"


def test_lost_calls_and_server_errors_are_asked_again() -> None:
    script = Script(httpx.ConnectError("x"), httpx.Response(503), httpx.Response(429), httpx.Response(201, json=VIEW))
    with stamina.set_testing(True, attempts=10):
        client(script).create("acme", REQUEST)
    assert len(script.requests) == 4


def test_an_api_that_stays_away_is_told_as_that() -> None:
    with stamina.set_testing(True, attempts=3), pytest.raises(BackfillsUnavailableError) as away:
        client(Script(httpx.ConnectError("refused"))).create("acme", REQUEST)
    assert away.value.retriable
    assert "ConnectError: refused" in str(away.value)


def test_a_refusal_is_told_with_its_rules_and_not_asked_again() -> None:
    refusal = ProblemError("validation_failed", "no", errors=[{"field": "params.day", "rule": "is required"}])
    script = Script(httpx.Response(422, json=refusal.document()))
    with pytest.raises(BackfillRefusedError, match=r"422 validation_failed: no; params\.day: is required") as refused:
        client(script).create("acme", REQUEST)
    assert (refused.value.code, refused.value.retriable, len(script.requests)) == ("validation_failed", False, 1)


def test_a_tenant_without_a_key_is_told_before_anything_is_sent() -> None:
    script = Script(httpx.Response(201, json=VIEW))
    with pytest.raises(BackfillRefusedError, match="LAKEMILL_SCHEDULE_KEYS holds no key of tenant 'globex'"):
        client(script).create("globex", REQUEST)
    assert script.requests == []


def test_keys_come_from_the_environment_and_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEMILL_INTERNAL_SECRET", "internal-secret-of-the-tests")
    monkeypatch.setenv("LAKEMILL_SCHEDULE_KEYS", f"acme={KEY}, default = {KEY}x")
    settings = ComputeSettings()  # pyright: ignore[reportCallIssue]
    found = {tenant: key.get_secret_value() for tenant, key in settings.schedule_keys.items()}
    assert found == {"acme": KEY, "default": f"{KEY}x"}
    assert "canary" not in repr(settings)


@pytest.mark.parametrize("value", [KEY, f"acme={KEY},", f"={KEY}", "acme=", f"acme={KEY},{KEY}"])
def test_keys_without_their_tenant_are_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LAKEMILL_INTERNAL_SECRET", "internal-secret-of-the-tests")
    monkeypatch.setenv("LAKEMILL_SCHEDULE_KEYS", value)
    if value.endswith(","):
        assert list(ComputeSettings().schedule_keys) == ["acme"]  # pyright: ignore[reportCallIssue]
        return
    with pytest.raises(ValidationError, match="is not tenant=key") as refused:
        ComputeSettings()  # pyright: ignore[reportCallIssue]
    assert "canary" not in str(refused.value)
