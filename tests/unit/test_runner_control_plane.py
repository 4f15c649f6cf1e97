"""The signed calls of a run: what is sent, what is asked again, and which error each refusal becomes."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
import stamina
from pydantic import SecretStr

from contracts import signing
from contracts.problems import ProblemError
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH, Catalogue, Event, LaunchMembers, Report
from resources.control_plane import (
    AttemptSupersededError,
    ControlPlane,
    ControlPlaneRefusedError,
    ControlPlaneUnavailableError,
    HttpControlPlane,
    PermitHeldError,
)
from resources.settings import PlaneLinkSettings

SECRET = "canary-internal-secret-of-the-tests"
REPORT = Report(event=Event.STARTED, at=datetime(2024, 10, 5, tzinfo=UTC), run_id="run", process_id=uuid4(), attempt=1)


def problem(code: str, **extra: object) -> httpx.Response:
    refusal = ProblemError(code, "no", **extra)
    return httpx.Response(refusal.problem.status, json=refusal.document())


class Script:
    """Answers in turn, the last one for ever; keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(script: Script) -> ControlPlane:
    settings = PlaneLinkSettings(api_url="http://api.test", internal_secret=SecretStr(SECRET))
    return HttpControlPlane(settings, transport=httpx.MockTransport(script))


ACCEPTED = httpx.Response(200, json={"accepted": True})


def test_every_call_is_signed_over_its_path_and_body() -> None:
    launch = uuid4()
    script = Script(
        ACCEPTED, httpx.Response(200, json=json.loads(LaunchMembers(launch_id=launch, members=[]).model_dump_json()))
    )
    plane = client(script)
    assert plane.report(REPORT).accepted
    assert plane.members(launch).members == []
    plane.publish(Catalogue(actions=[], profiles={}))
    assert [(request.method, request.url.path) for request in script.requests] == [
        ("POST", REPORT_PATH),
        ("GET", f"{LAUNCH_PATH}/{launch}"),
        ("PUT", ACTIONS_PATH),
    ]
    for request in script.requests:
        header = request.headers[signing.SIGNATURE_HEADER]
        signing.verify(SECRET, request.method, request.url.path, request.content, header)
        assert SECRET not in str(request.headers)
    assert Report.model_validate_json(script.requests[0].content) == REPORT


def test_lost_calls_and_server_errors_are_asked_again() -> None:
    script = Script(httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503), ACCEPTED)
    with stamina.set_testing(True, attempts=10):
        assert client(script).report(REPORT).accepted
    assert len({request.content for request in script.requests}) == 1
    assert len(script.requests) == 4


def test_a_control_plane_that_stays_away_is_unavailable() -> None:
    with stamina.set_testing(True, attempts=3), pytest.raises(ControlPlaneUnavailableError):
        client(Script(httpx.ConnectError("refused"))).report(REPORT)


def test_each_refusal_has_its_error_and_is_not_asked_again() -> None:
    for answer, error in [
        (problem("attempt_superseded"), AttemptSupersededError),
        (problem("not_found"), ControlPlaneRefusedError),
        (httpx.Response(401, text="no"), ControlPlaneRefusedError),
        (httpx.Response(409, json=["not a problem"]), ControlPlaneRefusedError),
        (httpx.Response(200, json={"accepted": True, "surprise": 1}), ControlPlaneRefusedError),
    ]:
        script = Script(answer)
        with pytest.raises(error):
            client(script).report(REPORT)
        assert len(script.requests) == 1


def test_a_held_permit_says_when_to_ask_again() -> None:
    with pytest.raises(PermitHeldError) as held:
        client(Script(problem("permit_held", retry_after=17))).report(REPORT)
    assert held.value.retry_after == 17
