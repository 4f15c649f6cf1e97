"""Which addresses are public, written down: a callback may reach nothing else unless the deployment allows it.

The table says why an address is refused. What it does not name must still lie where public addresses are handed out
(for IPv6: 2000::/3) and be global for Python, whose own table changes between releases.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("unspecified", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    # 168.63.129.16 looks public; it is a cloud's own wire server, reachable from inside only.
    ("metadata", ("169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::/32")),
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("private", ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10")),
    ("shared (CGNAT)", ("100.64.0.0/10",)),
    ("IPv4-mapped", ("::ffff:0:0/96", "::ffff:0:0:0/96", "::/96")),
    ("NAT64", ("64:ff9b::/96", "64:ff9b:1::/48")),
    ("6to4", ("2002::/16", "192.88.99.0/24")),
    ("Teredo", ("2001::/32",)),
    ("benchmarking", ("198.18.0.0/15", "2001:2::/48")),
    ("documentation", ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")),
    ("protocol assignments", ("192.0.0.0/24", "2001::/23", "100::/64", "5f00::/16")),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("reserved", ("240.0.0.0/4",)),
)
_DENIED: tuple[tuple[str, Network], ...] = tuple(
    (kind, ip_network(text)) for kind, texts in _NOT_PUBLIC for text in texts
)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read CIDR texts (``settings.callback_allow``). Raises ValueError naming the first that is none."""
    return tuple(ip_network(text) for text in texts)


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether ``address`` lies in one of ``networks``; an IPv4 address never lies in an IPv6 network."""
    return any(address in network for network in networks)


def why_not_public(address: Address) -> str | None:
    """Return what kind of address this is when it is not public, and None when it is."""
    for kind, network in _DENIED:
        if address in network:
            return kind
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "not global unicast"
    return None if address.is_global else "not global"
