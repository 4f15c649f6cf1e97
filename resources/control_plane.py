"""The control plane as the compute plane sees it: four signed calls over HTTP.

ControlPlaneError
├── ControlPlaneUnavailableError   no answer, 429 or 5xx (retriable)
├── ControlPlaneRefusedError       any other refusal: a wrong key, an unknown launch, a malformed report
├── AttemptSupersededError         409: this attempt is no longer wanted; stop and write nothing
├── VersionRetiredError            409: the coordinate was retired for ever; nothing may be committed there
└── PermitHeldError                409: another attempt may still commit; ask again later (retriable)
"""

from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ValidationError

from contracts.intake import INTAKE_PATH, IntakeAnswer, IntakeRequest
from contracts.problems import LakemillError
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH, Catalogue, LaunchMembers, Report, ReportAnswer
from contracts.signing import SIGNATURE_HEADER, sign
from resources.api_calls import api_client, ask_again, may_pass, problem_of
from resources.settings import PlaneLinkSettings

_RETRY_AFTER_SECONDS = 5.0
_Answer = TypeVar("_Answer", bound=BaseModel)


class ControlPlaneError(LakemillError):
    """The root of the control plane's errors, as a run sees them."""


class ControlPlaneUnavailableError(ControlPlaneError):
    """The control plane does not answer. Check LAKEMILL_API_URL and the API's log."""

    retriable = True


class ControlPlaneRefusedError(ControlPlaneError):
    """The control plane refuses the call. Check LAKEMILL_INTERNAL_SECRET on both planes, then the message."""


class AttemptSupersededError(ControlPlaneError):
    """This attempt is no longer wanted: another attempt or outcome has taken its place."""


class VersionRetiredError(ControlPlaneError):
    """The coordinate was retired for ever. Submit a new data_version."""


class PermitHeldError(ControlPlaneError):
    """Another attempt holds a live commit permit; ``retry_after`` is in seconds."""

    retriable = True

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ControlPlane(Protocol):
    """What runs and the sensor ask of the control plane and tell it. Every call is idempotent."""

    def members(self, launch_id: UUID) -> LaunchMembers:
        """Return the attempts of a launch that are still wanted."""

    def report(self, report: Report) -> ReportAnswer:
        """Tell what happened to an attempt. Raises AttemptSupersededError, PermitHeldError, VersionRetiredError."""

    def intake(self, request: IntakeRequest) -> IntakeAnswer:
        """Show one tick's records; learn what to launch."""

    def publish(self, catalogue: Catalogue) -> None:
        """Replace the catalogue of actions."""


class HttpControlPlane:
    """The control plane over HTTP. Retries lost calls and 5xx for up to ``patience`` seconds."""

    def __init__(
        self, settings: PlaneLinkSettings, *, patience: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Make the client; nothing is sent yet. ``transport`` replaces the network in tests."""
        self._secret = settings.internal_secret
        self._patience = patience
        self._http = api_client(settings.api_url, transport)

    def members(self, launch_id: UUID) -> LaunchMembers:
        """See ControlPlane."""
        return self._call(LaunchMembers, "GET", f"{LAUNCH_PATH}/{launch_id}")

    def report(self, report: Report) -> ReportAnswer:
        """See ControlPlane."""
        return self._call(ReportAnswer, "POST", REPORT_PATH, report)

    def intake(self, request: IntakeRequest) -> IntakeAnswer:
        """See ControlPlane."""
        return self._call(IntakeAnswer, "POST", INTAKE_PATH, request)

    def publish(self, catalogue: Catalogue) -> None:
        """See ControlPlane."""
        self._send("PUT", ACTIONS_PATH, catalogue)

    def _call(self, model: type[_Answer], method: str, path: str, body: BaseModel | None = None) -> _Answer:
        answer = self._send(method, path, body)
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise ControlPlaneRefusedError(f"{method} {path}: the answer does not fit: {error}") from error

    def _send(self, method: str, path: str, body: BaseModel | None = None) -> httpx.Response:
        # Without what is as always: an API of the version before does not know the fields that came since.
        content = body.model_dump_json(exclude_defaults=True).encode() if body else b""
        send = partial(self._send_once, method, path, content)
        return ask_again(send, on=ControlPlaneUnavailableError, patience=self._patience)

    def _send_once(self, method: str, path: str, content: bytes) -> httpx.Response:
        headers = {
            "Content-Type": "application/json",
            SIGNATURE_HEADER: sign(self._secret.get_secret_value(), method, path, content),
        }
        try:
            answer = self._http.request(method, path, content=content, headers=headers)
        except httpx.TransportError as error:
            raise ControlPlaneUnavailableError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if not answer.is_success:
            _refuse(answer, f"{method} {path}")
        return answer


def _refuse(answer: httpx.Response, call: str) -> None:
    problem = problem_of(answer)
    code, detail = problem.get("code"), problem.get("detail") or answer.reason_phrase
    message = f"{call}: {answer.status_code} {code or ''}: {detail}"
    if code == "attempt_superseded":
        raise AttemptSupersededError(message)
    if code == "version_retired":
        raise VersionRetiredError(message)
    if code == "permit_held":
        raise PermitHeldError(message, float(problem.get("retry_after", _RETRY_AFTER_SECONDS)))
    if may_pass(answer):
        raise ControlPlaneUnavailableError(message)
    raise ControlPlaneRefusedError(message)
