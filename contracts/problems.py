"""Every refusal and failure by its stable code: what a user reads, what they can do about it.

LakemillError
├── ProblemError          a request that is refused (RFC 9457 problem+json)
└── the errors of each boundary, defined beside it (LakeError, ControlPlaneError, RunError, …)
"""

from dataclasses import dataclass
from typing import Any, ClassVar


class LakemillError(Exception):
    """The root of every error Lakemill raises on purpose."""

    retriable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of refusal: its HTTP status, a title, and the remedy that documentation and answers quote."""

    code: str
    status: int
    title: str
    remedy: str


PROBLEMS: dict[str, Problem] = {
    problem.code: problem
    for problem in (
        Problem(
            "unauthorized",
            401,
            "No valid API key",
            "Send 'Authorization: Bearer lm_…' with a key that is not revoked or expired.",
        ),
        Problem("forbidden", 403, "The key lacks the scope", "Use a key with the scope named in 'detail'."),
        Problem(
            "not_found",
            404,
            "Nothing here",
            "Check the address; what belongs to another tenant is answered the same way.",
        ),
        Problem(
            "method_not_allowed",
            405,
            "This method is not offered here",
            "See /docs for the methods of this address.",
        ),
        Problem("payload_too_large", 413, "The body is too large", "Send at most 64 KiB."),
        Problem(
            "unsupported_media_type",
            415,
            "Only application/json in UTF-8 is read",
            "Send 'Content-Type: application/json' without a content encoding.",
        ),
        Problem(
            "malformed_json",
            400,
            "The body is not acceptable JSON",
            "Send one JSON object in UTF-8; see 'detail'.",
        ),
        Problem("duplicate_key", 400, "A JSON object names a key twice", "Name every key once."),
        Problem(
            "invalid_idempotency_key",
            400,
            "The Idempotency-Key cannot be used",
            "Send the header once, 1 to 255 visible ASCII characters.",
        ),
        Problem(
            "validation_failed",
            422,
            "A field breaks its rule",
            "See 'errors': each names the field and the rule.",
        ),
        Problem("unknown_action", 422, "No such action is published", "Publish the action, or choose one that is."),
        Problem(
            "action_changed",
            409,
            "The published action has another digest",
            "Drop action_digest or send the published one.",
        ),
        Problem(
            "missing_input",
            422,
            "An input snapshot does not exist",
            "Produce the input first, or point to another with 'inputs'.",
        ),
        Problem(
            "callback_forbidden",
            422,
            "The callback address is not allowed",
            "Use a public https address on port 443 or 8443.",
        ),
        Problem(
            "idempotency_key_reused",
            422,
            "This Idempotency-Key came with another body",
            "Use a new key for a new request.",
        ),
        Problem(
            "process_active",
            409,
            "A process for this coordinate is under way",
            "Wait for it; see 'process_id'.",
        ),
        Problem(
            "version_already_published",
            409,
            "This coordinate is published and never changes",
            "Read the snapshot, or submit a new data_version.",
        ),
        Problem("version_retired", 409, "This coordinate was retired for ever", "Submit a new data_version."),
        Problem(
            "attempt_superseded",
            409,
            "This attempt is no longer wanted",
            "Stop: another attempt or outcome has taken its place.",
        ),
        Problem(
            "permit_held",
            409,
            "Another attempt holds a live commit permit",
            "Ask again after 'retry_after' seconds.",
        ),
        Problem(
            "commit_outlives_permit",
            409,
            "The presigned commit is valid for longer than the permit",
            "Set the same LAKEMILL_PERMIT_SECONDS on both planes and keep their clocks in step.",
        ),
        Problem("too_many_requests", 429, "Too many requests", "Wait 'Retry-After' seconds."),
        Problem("recovering", 503, "The control plane is being rebuilt", "Try again later; nothing was accepted."),
        Problem("lake_unavailable", 503, "The object store does not answer", "Try again later; nothing was changed."),
        Problem(
            "internal_error", 500, "Lakemill made a mistake", "Report it with the request id; nothing is known of it."
        ),
        Problem(
            "database_unavailable",
            503,
            "The database does not answer",
            "Try again with the same Idempotency-Key; nothing was accepted.",
        ),
    )
}


class ProblemError(LakemillError):
    """A request that is refused with one of ``PROBLEMS``; ``extra`` members go into the problem document."""

    def __init__(self, code: str, detail: str, **extra: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.problem = PROBLEMS[code]
        self.detail = detail
        self.extra = extra

    def document(self) -> dict[str, Any]:
        """Return the problem+json object."""
        problem = self.problem
        return {
            "type": f"urn:lakemill:problem:{problem.code}",
            "title": problem.title,
            "status": problem.status,
            "code": problem.code,
            "detail": self.detail,
            "remedy": problem.remedy,
            **self.extra,
        }
