"""Challenges, secrets in representations, realms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.transport.auth import AuthenticationError, Credentials, _check_realm, _token_request, basic
from rundlet.transport.challenges import Challenge, parse


def test_challenges() -> None:
    header = 'Bearer realm="https://a/t",service="s p",scope="repository:x:pull,push", Basic realm="q\\"uote"'
    assert parse(header) == [
        Challenge("bearer", {"realm": "https://a/t", "service": "s p", "scope": "repository:x:pull,push"}),
        Challenge("basic", {"realm": 'q"uote'}),
    ]
    assert parse("Negotiate") == [Challenge("negotiate", {})]
    assert parse("Negotiate abc==, Basic realm=x") == [
        Challenge("negotiate", {"abc": ""}),
        Challenge("basic", {"realm": "x"}),
    ]
    assert parse("") == []
    assert parse("Bearer realm = https") == [Challenge("bearer", {"realm": "https"})]


@given(st.text(max_size=200))
def test_any_header_is_survived(text: str) -> None:
    parse(text)
    parse(f'Bearer realm="{text}')


def test_secrets_stay_out_of_representations() -> None:
    credentials = Credentials("ann", "hunter2", "identity", "registry")
    for secret in ("hunter2", "identity", "registry"):
        assert secret not in repr(credentials)
        assert secret not in str(credentials)
        assert secret not in credentials.fingerprint()
    assert basic(Credentials("ann", "pä:ss")) == "Basic YW5uOnDDpDpzcw=="


@pytest.mark.parametrize(
    ("url", "realm", "fine"),
    [
        ("https://r/v2/", "https://auth/t", True),
        ("https://r/v2/", "http://auth/t", False),
        ("http://r/v2/", "http://auth/t", True),
        ("https://r/v2/", "/token", False),
        ("https://r/v2/", "https:///t", False),
    ],
)
def test_realms(url: str, realm: str, fine: bool) -> None:
    if fine:
        _check_realm(url, realm)
    else:
        with pytest.raises(AuthenticationError):
            _check_realm(url, realm)


def test_identity_tokens_are_posted() -> None:
    request = _token_request("https://a/t", "svc", ("repository:x:pull",), Credentials("ann", identity_token="idt"))
    assert (request.method, request.url, request.authorization, request.follow) == ("POST", "https://a/t", None, False)
    assert request.body == (
        b"grant_type=refresh_token&service=svc&client_id=rundlet&scope=repository%3Ax%3Apull&refresh_token=idt"
    )


def test_anonymous_and_basic_requests() -> None:
    anonymous = _token_request("https://a/t?x=1", "", ("s1", "s2"), None)
    assert (anonymous.url, anonymous.authorization) == ("https://a/t?x=1&scope=s1&scope=s2", None)
    known = _token_request("https://a/t", "svc", (), Credentials("ann", "p"))
    assert (known.url, known.authorization) == ("https://a/t?service=svc&account=ann", "Basic YW5uOnA=")
