"""aiohttp's exceptions in Docker's words."""

import errno
import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from rundlet.transport.errors import retry_after, translate, unparsed

KEY = ConnectionKey("reg.example", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 443)"),
            "refused",
            "dial tcp 10.0.0.1:443: connect: connection refused",
        ),
        (
            OSError(None, "Multiple exceptions: [Errno 111] Connect call failed ('::1', 443, 0, 0), …"),
            "refused",
            "dial tcp [::1]:443: connect: connection refused",
        ),
        (
            OSError(errno.EHOSTUNREACH, "No route"),
            "unreachable",
            "dial tcp reg.example:443: connect: no route to host",
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "x"),
            "unresolved",
            "dial tcp: lookup reg.example: no such host",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "x"),
            "unresolved",
            "dial tcp: lookup reg.example: server misbehaving",
        ),
        (ConnectionResetError(), "unreachable", "EOF"),
    ],
)
def test_dialling(error: OSError, kind: str, words: str) -> None:
    translated = translate(aiohttp.ClientConnectorError(KEY, error), "GET", "https://reg.example/v2/")
    assert (translated.kind, translated.unreachable, translated.status) == (kind, True, 500)
    assert str(translated) == f'Get "https://reg.example/v2/": {words}'


@pytest.mark.parametrize(
    ("error", "kind", "temporary"),
    [
        (aiohttp.ServerDisconnectedError(), "cut", True),
        (aiohttp.ClientPayloadError("short"), "cut", True),
        (aiohttp.SocketTimeoutError(), "timeout", True),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "cut", True),
        (aiohttp.ClientError("nonsense"), "protocol", False),
    ],
)
def test_later(error: Exception, kind: str, temporary: bool) -> None:
    translated = translate(error, "HEAD", "http://a/")
    assert (translated.kind, translated.temporary) == (kind, temporary)


def test_passwords_of_addresses_are_in_no_message() -> None:
    url = "https://anna:se:cret@reg.example:5000/v2/?next=a@b"
    error = translate(aiohttp.InvalidURL(url), "GET", url)
    assert "cret" not in str(error)
    assert str(error).startswith('Get "https://anna:***@reg.example:5000/v2/?next=a@b": ')
    plain = "https://anna@reg.example:5000/v2/a:b@sha256:00"
    assert str(translate(TimeoutError(), "GET", plain)).startswith(f'Get "{plain}": ')


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", 'unexpected end of JSON input: ""'),
        (b"<html>\x1b[31mno\r\n", "invalid character '<' looking for beginning of value: \"<html> [31mno\""),
        (b'{"error":"x"}', 'no error details found in HTTP response body: "{"error":"x"}"'),
    ],
)
def test_refusals_that_are_not_json(body: bytes, why: str) -> None:
    assert unparsed(403, body) == f"error parsing HTTP 403 response body: {why}"


def test_a_refusal_without_end_is_cut() -> None:
    assert len(unparsed(413, b"x" * 10**6)) < 1200


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Thu, 01 Jan 1970 00:01:30 GMT", 30.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("9" * 5000, None),
        ("\u0663", None),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_when_to_come_back(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, lambda: 60.0) == seconds
