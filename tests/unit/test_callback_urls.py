"""Callback addresses: what a requester may name, by spelling alone."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.callbacks.addresses import CallbackForbiddenError, check_callback_url
from resources.callbacks.networks import parse_networks, why_not_public
from tests.unit.hostile_urls import HOSTILE_URLS

LOOPBACK = parse_networks(("127.0.0.0/8", "::1/128"))


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_hostile_url_is_refused(url: str) -> None:
    with pytest.raises(CallbackForbiddenError):
        check_callback_url(url)


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_an_allow_list_opens_only_what_it_names(url: str) -> None:
    with pytest.raises(CallbackForbiddenError):
        check_callback_url(url, parse_networks(("198.51.100.7/32",)))


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://example.com/", "example.com", 443, "/"),
        ("https://EXAMPLE.com./a?b=c", "example.com", 443, "/a?b=c"),
        ("https://example.com?x=1", "example.com", 443, "/?x=1"),
        ("HTTPS://hooks.example.co.uk:8443/in", "hooks.example.co.uk", 8443, "/in"),
        ("https://xn--bcher-kva.example/h%20i", "xn--bcher-kva.example", 443, "/h%20i"),
        ("https://example.com/@me/a:b", "example.com", 443, "/@me/a:b"),
        ("https://8.8.8.8/hook", "8.8.8.8", 443, "/hook"),
        ("https://[2606:4700:4700::1111]:443/", "2606:4700:4700::1111", 443, "/"),
        ("https://10.example.com/", "10.example.com", 443, "/"),
    ],
)
def test_a_public_https_url_is_read_into_its_parts(url: str, host: str, port: int, target: str) -> None:
    found = check_callback_url(url)
    assert (found.scheme, found.host, found.port, found.target) == ("https", host, port, target)
    assert not found.is_exempt


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST."])
def test_an_allow_listed_host_may_use_http_and_any_port(host: str) -> None:
    found = check_callback_url(f"http://{host}:9000/in", LOOPBACK)
    assert (found.scheme, found.port, found.is_exempt) == ("http", 9000, True)
    with pytest.raises(CallbackForbiddenError):
        check_callback_url(f"http://{host}:9000/in", parse_networks(("10.0.0.0/8",)))


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://example.com/", "example.com"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://[2606:4700::1]:8443/", "[2606:4700::1]:8443"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
    ],
)
def test_the_host_header_names_a_port_only_when_it_is_unusual(url: str, header: str) -> None:
    assert check_callback_url(url, LOOPBACK).host_header == header


def test_an_oddly_spelled_address_is_refused_even_when_it_is_allow_listed() -> None:
    for spelling in ("127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"):
        with pytest.raises(CallbackForbiddenError, match="oddly spelled"):
            check_callback_url(f"http://{spelling}/", LOOPBACK)


@given(st.ip_addresses())
def test_no_address_is_public_that_python_knows_to_be_inside(address: object) -> None:
    found = ip_address(str(address))
    if why_not_public(found) is None:
        assert found.is_global
        assert not any((found.is_private, found.is_loopback, found.is_link_local, found.is_multicast))
        assert not any((found.is_reserved, found.is_unspecified))


@given(st.text(max_size=80))
def test_any_text_is_either_read_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com{text}"):
        try:
            found = check_callback_url(url)
        except CallbackForbiddenError:
            continue
        assert found.scheme == "https"
        assert found.port in (443, 8443)
        assert found.target.startswith("/")
