"""The root of every error, and the refusal that becomes a problem document.

LakemillError
├── ProblemError          a request that is refused (RFC 9457 problem+json)
└── the errors of each boundary, defined beside it (LakeError, ControlPlaneError, RunError, …)
"""

from typing import Any, ClassVar

from contracts.problem_codes import PROBLEMS

MAX_ERRORS = 20
"""Broken rules that a refusal names: a body of 8 MiB can break as many as it has keys, and nobody reads them all."""


class LakemillError(Exception):
    """The root of every error Lakemill raises on purpose."""

    retriable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


class ProblemError(LakemillError):
    """A request that is refused with one of ``PROBLEMS``; ``extra`` members go into the problem document.

    Of ``errors`` the first ``MAX_ERRORS`` do; ``more_errors`` counts the others, when there are any.
    """

    def __init__(self, code: str, detail: str, **extra: Any) -> None:
        super().__init__(f"{code}: {detail}")
        self.problem = PROBLEMS[code]
        self.detail = detail
        more = len(extra.get("errors", ())) - MAX_ERRORS
        self.extra = extra | {"errors": extra["errors"][:MAX_ERRORS], "more_errors": more} if more > 0 else extra

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
