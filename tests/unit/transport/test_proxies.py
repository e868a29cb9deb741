"""Proxies from the environment, with Go's rules."""

import pytest
from yarl import URL

from rundlet.errors import NotSupportedError
from rundlet.transport.proxies import Proxies, masked


def choose(url: str, **environment: str) -> str | None:
    proxy = Proxies.from_environment(environment).choose(URL(url))
    return str(proxy) if proxy else None


def test_by_scheme() -> None:
    both = {"HTTP_PROXY": "http://p:1", "https_proxy": "q:2"}
    assert choose("http://a/", **both) == "http://p:1"
    assert choose("https://a/", **both) == "http://q:2"
    assert choose("https://a/", HTTP_PROXY="http://p:1") is None
    assert choose("http://a/", HTTP_PROXY="", http_proxy="http://p:1") == "http://p:1"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.4.5:5000", "[::1]"])
def test_loopback_needs_none(host: str) -> None:
    assert choose(f"http://{host}/", HTTP_PROXY="http://p:1") is None


@pytest.mark.parametrize(
    ("rule", "host", "bypassed"),
    [
        ("*", "a.example", True),
        ("example", "a.example", True),
        ("example", "example", True),
        ("example", "notexample", False),
        (".example", "example", False),
        (".example", "a.example", True),
        ("*.example", "a.example", True),
        ("example:8080", "example:8080", True),
        ("example:8080", "example:80", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "[fd00::1]", True),
        ("x, a.example", "A.Example", True),
        ("10.0.0.0/99", "10.1.2.3", False),
    ],
)
def test_bypass(rule: str, host: str, bypassed: bool) -> None:
    assert (choose(f"http://{host}/", HTTP_PROXY="http://p:1", NO_PROXY=rule) is None) == bypassed


def test_socks_is_refused_by_name() -> None:
    with pytest.raises(NotSupportedError, match="socks5"):
        choose("http://a/", HTTP_PROXY="socks5://p:1")


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("", ""),
        ("http://p:1", "http://p:1"),
        ("http://me:secret@p:1/x@y", "http://xxxxx:xxxxx@p:1/x@y"),
        ("https://me@p", "https://xxxxx:xxxxx@p"),
        ("me:s@cret@p:1", "xxxxx:xxxxx@p:1"),
    ],
)
def test_passwords_are_not_shown(proxy: str, shown: str) -> None:
    assert masked(proxy) == shown
