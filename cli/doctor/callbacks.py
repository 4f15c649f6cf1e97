"""A receiver of callbacks, asked under the rules that every callback is sent by."""

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from cli.doctor.check import Check, Group, Result, failed, passed, warned
from cli.doctor.site import NotConfiguredError, Site
from contracts.tenancy import DEFAULT_TENANT
from resources.callback_sender import SystemResolver
from resources.callbacks import allowed_to_connect, check_callback_url
from resources.networks import Network, parse_networks

if TYPE_CHECKING:
    from resources.callback_probe import Sighting

DAYS_LEFT = 14
SLOW_SECONDS = 5.0
TYPE = "lakemill.doctor"


def _address(site: Site) -> Result:
    url, allow = _url(site), _allow(site)
    target = check_callback_url(url, allow)
    try:
        found = asyncio.run((site.outside.resolve or SystemResolver())(target.host, target.port))
    except OSError as error:
        return failed(f"{target.host} does not resolve: {error}")
    for address in found:
        if kind := allowed_to_connect(address, target, allow):
            return failed(f"{target.host} leads to {address}, which is {kind}")
    return passed(f"{target.host} leads to {', '.join(map(str, found))}")


def _tls(site: Site) -> Result:
    url = _url(site)
    if check_callback_url(url, _allow(site)).scheme != "https":
        return warned("the callback is not encrypted; http is allowed to an allow-listed network only")
    seen = _sighting(site)
    if seen.certificate_until is None:
        return failed(f"no TLS connection: {_words(seen)}")
    days = (seen.certificate_until - datetime.now(UTC)).days
    told = f"{seen.tls_version}, certificate valid for {days} more days"
    return passed(told) if days >= DAYS_LEFT else warned(told)


def _latency(site: Site) -> Result:
    seen = _sighting(site)
    if seen.outcome.error is not None:
        return failed(f"no answer after {seen.seconds:.1f} s: {_words(seen)}")
    return latency_result(seen.seconds)


def latency_result(seconds: float) -> Result:
    """Judge how long an answer took."""
    told = f"an answer after {seconds:.2f} s, name resolution and TLS included"
    return warned(told) if seconds > SLOW_SECONDS else passed(told)


def _signature(site: Site) -> Result:
    seen = _sighting(site)
    if not seen.outcome.is_delivered:
        return failed(f"the signed test callback was not taken: {_words(seen)}")
    if str(_webhook_id(site)).encode() in seen.answer:
        return passed(f"{seen.outcome.status}; the receiver echoes our webhook-id")
    return warned(f"{seen.outcome.status}; no echo of our webhook-id, so whether it verifies signatures is not known")


def _webhook_id(site: Site) -> UUID:
    return site.once("webhook_id", uuid4)


def _sighting(site: Site) -> "Sighting":
    """Return what was seen of the one test callback for all checks. Raises the errors of ``_send``."""
    return site.once("callback", lambda: _send(site))


def _send(site: Site) -> "Sighting":
    """Send a test callback. Raises DatabaseUnavailableError, UnknownTenantError."""
    url, database_url = _url(site), site.control.database_url
    from control import keys
    from control.callbacks import signed_headers
    from resources.callback_probe import CallbackProbe
    from resources.database import Database

    now = datetime.now(UTC)
    data = {"message": "A test by 'lakemill doctor'. Nothing has happened; answer with any 2xx."}
    body = json.dumps({"type": TYPE, "timestamp": now.isoformat(), "data": data})

    async def send() -> "Sighting":
        db = Database(database_url, pool_size=1)
        try:
            async with db.transaction() as conn:
                secret = await keys.webhook_secret(conn, DEFAULT_TENANT)
        finally:
            await db.close()
        headers = signed_headers(_webhook_id(site), body, secret.get_secret_value(), now)
        outside = site.outside
        probe = CallbackProbe(
            _allow(site), resolve=outside.resolve, network=outside.network, ssl_context=outside.ssl_context
        )
        return await probe.send(url, body.encode(), headers)

    return asyncio.run(send())


def _url(site: Site) -> str:
    if site.options.callback is None:
        raise NotConfiguredError("name a receiver with --callback URL")
    return site.options.callback


def _allow(site: Site) -> tuple[Network, ...]:
    return parse_networks(site.control.callback_allow)


def _words(seen: "Sighting") -> str:
    outcome = seen.outcome
    return f"{outcome.error or outcome.status} {outcome.detail}".rstrip()


CHECKS = (
    Check(
        "callbacks.address",
        Group.CALLBACKS,
        "Is the URL of `--callback` allowed, does its name resolve, and only to addresses that may be reached?",
        "Use a public https address on port 443 or 8443, or open its network with LAKEMILL_CALLBACK_ALLOW.",
        _address,
    ),
    Check(
        "callbacks.tls",
        Group.CALLBACKS,
        f"Is the receiver's certificate valid for its name, for {DAYS_LEFT} more days?",
        "Renew the certificate, or send the whole chain; the authority must be one that this image trusts.",
        _tls,
    ),
    Check(
        "callbacks.latency",
        Group.CALLBACKS,
        f"How long does the receiver take to answer (warn above {SLOW_SECONDS:g} s; after 15 s a try is given up)?",
        "Answer first and work later; open the way from the worker's pods to the receiver.",
        _latency,
    ),
    Check(
        "callbacks.signature",
        Group.CALLBACKS,
        f"Does the receiver take a signed callback of type `{TYPE}` with a 2xx, and does it echo the webhook-id?",
        "Verify signatures with the secret of `lakemill keys webhook-secret`; answer unknown types with a 2xx.",
        _signature,
    ),
)
