"""Callback addresses: what a requester may name as their ``callback_url``.

The URL is read once, by one strict grammar, and the sender (``resources/callbacks/sender.py``) uses exactly what was
read here: there is no second parser to disagree with. A name says nothing about where it leads, so the sender judges
the addresses it resolves to once more.

LakemillError
└── CallbackForbiddenError   this address is not, or no longer, allowed
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from contracts.problems import LakemillError
from resources.callbacks.networks import Address, Network, is_within, why_not_public

MAX_URL = 2048
_PORTS = frozenset({443, 8443})
_DEFAULT_PORTS = {"https": 443, "http": 80}
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<target>[/?][\x21-\x7e]*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# What a resolver would read as an IPv4 address in some spelling: 127.1, 2130706433, 0x7f.1, 0177.0.0.1
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_INSIDE = frozenset({"localhost", "local", "localdomain", "internal", "svc", "lan", "intranet", "arpa"})
_LOOPBACK = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class CallbackForbiddenError(LakemillError):
    """A callback must not go there. The message names the rule; the remedy is a public https address."""


@dataclass(frozen=True, slots=True)
class CallbackTarget:
    """A callback URL as it was read."""

    scheme: str
    host: str
    """Lower case, without brackets and without a trailing dot."""
    port: int
    target: str
    """Path and query."""
    is_exempt: bool
    """Whether the scheme or the port is allowed only because the host lies in an allow-listed network."""

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS[self.scheme] else f"{name}:{self.port}"


def check_callback_url(url: str, allow: Sequence[Network] = ()) -> CallbackTarget:
    """Read a callback URL and apply every rule that needs no name resolution.

    ``allow`` holds the networks that this deployment opens although they are not public; a host that is written as an
    address in one of them (or ``localhost``, when loopback is open) may use http and any port.
    Raises CallbackForbiddenError naming the broken rule.
    """
    found = _read(url)
    scheme, host = found["scheme"].lower(), found["host"].lower()
    addresses = _addresses(host)
    if addresses:
        exempt = all(is_within(address, allow) for address in addresses)
        for address in addresses:
            kind = None if exempt else why_not_public(address)
            if kind is not None:
                raise CallbackForbiddenError(f"the host is a {kind} address")
    else:
        exempt = False
        _check_name(host.removesuffix("."))
    port = int(found["port"] or _DEFAULT_PORTS[scheme])
    _check_scheme_and_port(scheme, port, exempt=exempt)
    target = found["target"] or "/"
    path = target if target.startswith("/") else f"/{target}"
    is_exempt = scheme != "https" or port not in _PORTS
    return CallbackTarget(scheme, host.strip("[]").removesuffix("."), port, path, is_exempt)


def allowed_to_connect(address: Address, target: CallbackTarget, allow: Sequence[Network]) -> str | None:
    """Judge an address that ``target``'s host resolved to: None when it may be reached, else why not."""
    if is_within(address, allow):
        return None
    return "not allow-listed" if target.is_exempt else why_not_public(address)


def _read(url: str) -> re.Match[str]:
    if len(url) > MAX_URL:
        raise CallbackForbiddenError(f"the URL is longer than {MAX_URL} characters")
    if any(not "\x21" <= character <= "\x7e" or character == "\\" for character in url):
        raise CallbackForbiddenError("the URL must be visible ASCII without backslashes; write names in punycode")
    if "#" in url:
        raise CallbackForbiddenError("the URL must not have a fragment")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        raise CallbackForbiddenError("the URL must begin with https://")
    if "@" in re.split("[/?]", rest, maxsplit=1)[0]:
        raise CallbackForbiddenError("the URL must not carry a user name or password")
    found = _URL.fullmatch(url)
    if found is None:
        raise CallbackForbiddenError("the URL must name a plain host and, at most, a port")
    return found


def _addresses(host: str) -> tuple[Address, ...]:
    """Return the addresses that a host is by its spelling alone; empty for a name."""
    try:
        if host.startswith("["):
            return (IPv6Address(host[1:-1]),)
        name = host.removesuffix(".")
        if name == "localhost":
            return _LOOPBACK
        if _NUMERIC.fullmatch(name.rpartition(".")[2]):
            return (IPv4Address(name),)
    except AddressValueError:
        # 0x7f.1 and its kin: readers differ in what they make of it, so nobody gets to read it.
        raise CallbackForbiddenError("the host is a malformed or oddly spelled address") from None
    return ()


def _check_name(name: str) -> None:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise CallbackForbiddenError("the host is not a valid DNS name")
    if len(labels) < 2 or labels[-1] in _INSIDE:
        raise CallbackForbiddenError(f"{name[:64]!r} is a name for inside use only")


def _check_scheme_and_port(scheme: str, port: int, *, exempt: bool) -> None:
    if not 0 < port < 65536:
        raise CallbackForbiddenError(f"{port} is not a port")
    if exempt:
        return
    if scheme != "https":
        raise CallbackForbiddenError("the URL must begin with https://")
    if port not in _PORTS:
        raise CallbackForbiddenError("the port must be 443 or 8443")
