"""Signatures on the calls between our own planes: HMAC-SHA256 over time, method, path and body."""

import hashlib
import hmac
import time

SIGNATURE_HEADER = "Lakemill-Signature"
TOLERANCE_SECONDS = 300


class BadSignatureError(ValueError):
    """The call is not signed with the shared key, or too old."""


def sign(secret: str, method: str, path: str, body: bytes, *, now: float | None = None) -> str:
    """Return the header's value, ``t={unix seconds},v1={hex}``."""
    stamp = str(int(time.time() if now is None else now))
    return f"t={stamp},v1={_digest(secret, stamp, method, path, body)}"


def verify(secret: str, method: str, path: str, body: bytes, header: str, *, now: float | None = None) -> None:
    """Return when ``header`` signs this call; raise BadSignatureError otherwise."""
    fields = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    stamp, given = fields.get("t", ""), fields.get("v1", "")
    expected = _digest(secret, stamp, method, path, body)
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise BadSignatureError("the signature does not match")
    age = (time.time() if now is None else now) - int(stamp)
    if abs(age) > TOLERANCE_SECONDS:
        raise BadSignatureError(f"the signature is {age:.0f} seconds old; check the clocks of both planes")


def _digest(secret: str, stamp: str, method: str, path: str, body: bytes) -> str:
    message = b"\n".join((stamp.encode(), method.upper().encode(), path.encode(), body))
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
