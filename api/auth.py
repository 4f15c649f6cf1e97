"""Who calls: tenants by API key, our own compute plane by signature. Every failure has one and the same body."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.bodies import read
from api.services import Ports
from contracts.problems import ProblemError
from contracts.signing import SIGNATURE_HEADER, BadSignatureError, verify
from contracts.tenancy import Scope
from control.keys import Caller, caller_of

MAX_INTERNAL_BYTES = 128 * 1024 * 1024
"""A tick shows up to 500 records in base64; the sensor bounds their bytes well below this."""

_documented = HTTPBearer(auto_error=False, description="An API key: `lm_{prefix}_{secret}`.")


def _unauthorized() -> ProblemError:
    return ProblemError("unauthorized", "this call needs valid credentials")


def require(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency that answers 401 without a valid key and 403 when the key lacks ``scope``."""

    async def dependency(
        request: Request,
        ports: Ports,
        _documentation: Annotated[HTTPAuthorizationCredentials | None, Security(_documented)],
    ) -> Caller:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        async with ports.db.reading() as conn:
            caller = await caller_of(conn, key.strip() if scheme.lower() == "bearer" else "")
        if caller is None:
            raise _unauthorized()
        if scope not in caller.scopes:
            raise ProblemError("forbidden", f"this call needs the scope {scope.value!r}")
        return caller

    return dependency


async def _signed_body(request: Request, ports: Ports) -> bytes:
    body = await read(request, MAX_INTERNAL_BYTES)
    secret = ports.settings.internal_secret.get_secret_value()
    try:
        verify(secret, request.method, request.url.path, body, request.headers.get(SIGNATURE_HEADER, ""))
    except BadSignatureError:
        raise _unauthorized() from None
    return body


Submitter = Annotated[Caller, Depends(require(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(require(Scope.READ))]
SignedBody = Annotated[bytes, Depends(_signed_body)]
"""A route parameter: the body of a call that our own compute plane has signed."""
