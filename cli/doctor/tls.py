"""Whether others can read a connection to a server that is not PostgreSQL, which tells it itself."""

from collections.abc import Iterable
from ipaddress import ip_address

from cli.doctor.check import Result, passed, warned


def tls_result(protocol: str, hosts: Iterable[str], at_stake: str, *, is_encrypted: bool) -> Result:
    """Judge a connection by its protocol; what stays on this host nobody else can read."""
    if is_encrypted:
        return passed(f"{protocol}; the server's certificate and name are checked")
    if all(_is_loopback(host.strip()) for host in hosts):
        return passed(f"{protocol}: not encrypted, but on this host only")
    return warned(f"{protocol}: the connection is not encrypted, {at_stake} can be read on the way")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
