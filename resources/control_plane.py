"""The control plane as the compute plane sees it: four signed calls over HTTP.

ControlPlaneError
├── ControlPlaneUnavailableError   no answer, 429 or 5xx (retriable)
├── ControlPlaneRefusedError       any other refusal: a wrong key, an unknown launch, a malformed report
├── AttemptSupersededError         409: this attempt is no longer wanted; stop and write nothing
└── PermitHeldError                409: another attempt may still commit; ask again later (retriable)
"""

from typing import Any, Protocol, TypeVar
from uuid import UUID

import httpx
import stamina
from pydantic import BaseModel, ValidationError

from contracts.intake import INTAKE_PATH, IntakeAnswer, IntakeRequest
from contracts.problems import LakemillError
from contracts.reports import ACTIONS_PATH, LAUNCH_PATH, REPORT_PATH, Catalogue, LaunchMembers, Report, ReportAnswer
from contracts.signing import SIGNATURE_HEADER, sign
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
        """Tell what happened to an attempt. Raises AttemptSupersededError, PermitHeldError."""

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
        self._http = httpx.Client(
            base_url=settings.api_url,
            timeout=httpx.Timeout(20.0, connect=5.0),
            trust_env=False,
            transport=transport,
        )

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
        content = body.model_dump_json().encode() if body else b""
        retrying = stamina.retry_context(
            on=ControlPlaneUnavailableError, attempts=None, timeout=self._patience, wait_initial=0.2, wait_max=5.0
        )
        for attempt in retrying:
            with attempt:
                return self._send_once(method, path, content)
        raise AssertionError("stamina returns or raises")

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
    problem = _problem(answer)
    code, detail = problem.get("code"), problem.get("detail") or answer.reason_phrase
    message = f"{call}: {answer.status_code} {code or ''}: {detail}"
    if code == "attempt_superseded":
        raise AttemptSupersededError(message)
    if code == "permit_held":
        raise PermitHeldError(message, float(problem.get("retry_after", _RETRY_AFTER_SECONDS)))
    if answer.status_code >= 500 or answer.status_code == 429:
        raise ControlPlaneUnavailableError(message)
    raise ControlPlaneRefusedError(message)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
