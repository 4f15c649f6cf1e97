"""A receiver of callbacks, asked under the rules that every callback is sent by."""

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from cli.doctor.asking import ask
from cli.doctor.check import Check, Group, Result, failed, passed, warned
from cli.doctor.site import NotConfiguredError, Site
from contracts.tenancy import DEFAULT_TENANT
from resources.callbacks.addresses import allowed_to_connect, check_callback_url
from resources.callbacks.networks import Network, parse_networks
from resources.callbacks.resolver import SystemResolver

if TYPE_CHECKING:
    from resources.callbacks.probe import Sighting

DAYS_LEFT = 14
SLOW_SECONDS = 5.0
_NOT_NOW = (408, 429)
TYPE = "lakemill.doctor"
_GENUINE = "A test by 'lakemill doctor'. Nothing has happened; answer with any 2xx."
_FORGED = "A test by 'lakemill doctor'. The signature is wrong on purpose; refuse it with a 4xx."


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
    return passed(f"{seen.outcome.status}; the signed test callback was taken")


def _forgery(site: Site) -> Result:
    # Only of a receiver that takes what is genuine does a refusal say that it has looked at the signature.
    genuine = _sighting(site)
    if not genuine.outcome.is_delivered:
        return failed(f"not even the genuine test callback was taken: {_words(genuine)}")
    from control.tenancy.webhook_secrets import new_secret

    seen = site.once("forgery", lambda: _send(site, _url(site), _FORGED, new_secret()))
    if seen.outcome.is_delivered:
        return warned(f"{seen.outcome.status} to a wrong signature: the receiver believes whoever knows its URL")
    status = seen.outcome.status
    if status is None or not 400 <= status < 500 or status in _NOT_NOW:
        return warned(f"no clear refusal of a wrong signature: {_words(seen)}")
    return passed(f"{status} to a wrong signature, {genuine.outcome.status} to ours")


def _sighting(site: Site) -> "Sighting":
    """Return what was seen of the one genuine callback for all checks.

    Raises DatabaseUnavailableError, PostgresError, UnknownTenantError.
    """
    return site.once("callback", lambda: _send(site, _url(site), _GENUINE, _our_secret(site)))


def _our_secret(site: Site) -> str:
    database_url = site.control.database_url
    from control.tenancy.webhook_secrets import newest_of

    return ask(site, database_url, lambda conn: newest_of(conn, DEFAULT_TENANT)).get_secret_value()


def _send(site: Site, url: str, message: str, secret: str) -> "Sighting":
    allow, outside = _allow(site), site.outside
    from control.callbacks.sending import signed_headers
    from resources.callbacks.probe import CallbackProbe

    now = datetime.now(UTC)
    body = json.dumps({"type": TYPE, "timestamp": now.isoformat(), "data": {"message": message}})
    probe = CallbackProbe(allow, resolve=outside.resolve, network=outside.network, ssl_context=outside.ssl_context)
    return asyncio.run(probe.send(url, body.encode(), signed_headers(uuid4(), body, [secret], now)))


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
        f"Does the receiver take a signed callback of type `{TYPE}` with a 2xx?",
        "Verify signatures with the secret of `lakemill keys webhook-secret`; answer unknown types with a 2xx.",
        _signature,
    ),
    Check(
        "callbacks.forgery",
        Group.CALLBACKS,
        "Does the receiver refuse, with a 4xx, a second callback that is signed with another secret?",
        "Verify the signature over the body as it came before anything else, and answer a wrong one with 401.",
        _forgery,
    ),
)
