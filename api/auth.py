"""Who calls: tenants by API key, our own compute plane by signature. Every failure has one and the same body."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.bodies import read
from api.services import Ports
from contracts.problems import ProblemError
from contracts.signing import SIGNATURE_HEADER, TOLERANCE_SECONDS, BadSignatureError, verify
from contracts.tenancy import Scope
from control.tenancy.keys import Caller, caller_of

MAX_LAUNCH_BYTES = 1024
MAX_REPORT_BYTES = 1024 * 1024
MAX_CATALOGUE_BYTES = 4 * 1024 * 1024
MAX_INTAKE_BYTES = 16 * 1024 * 1024
"""A tick shows up to 8 MiB of records, as base64."""
_SIGNED = re.compile(r"t=([0-9]{1,12}),v1=[0-9a-f]{64}")

_documented = HTTPBearer(auto_error=False, description="An API key: `lm_{prefix}_{secret}`.")


def _unauthorized() -> ProblemError:
    return ProblemError("unauthorized", "this call needs valid credentials")


def require(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency: 401 without a valid key, 429 beyond the tenant's rate, 403 when the key lacks ``scope``."""

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
        ports.rates.take(caller.tenant)
        if scope not in caller.scopes:
            raise ProblemError("forbidden", f"this call needs the scope {scope.value!r}")
        return caller

    return dependency


def signed_body(limit: int) -> Callable[..., Awaitable[bytes]]:
    """Return a dependency: the body, up to ``limit`` bytes, of a call that our own compute plane has signed.

    A call that cannot be signed rightly is refused before anything of its body is read.
    """

    async def dependency(request: Request, ports: Ports) -> bytes:
        signature = request.headers.get(SIGNATURE_HEADER, "")
        stamped = _SIGNED.fullmatch(signature)
        if stamped is None or abs(time.time() - int(stamped[1])) > TOLERANCE_SECONDS:
            raise _unauthorized()
        body = await read(request, limit)
        secret = ports.settings.internal_secret.get_secret_value()
        try:
            verify(secret, request.method, request.url.path, body, signature)
        except BadSignatureError:
            raise _unauthorized() from None
        return body

    return dependency


Submitter = Annotated[Caller, Depends(require(Scope.SUBMIT))]
Reader = Annotated[Caller, Depends(require(Scope.READ))]
