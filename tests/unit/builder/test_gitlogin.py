"""Which secret opens which repository."""

import base64

import pytest

from rundlet.builder.errors import BuildError
from rundlet.builder.gitlogin import login_settings, secret_names

URL = "https://user@git.example:8443/team/app.git"


def test_names() -> None:
    assert secret_names(URL) == (
        "GIT_AUTH_HEADER.git.example:8443",
        "GIT_AUTH_TOKEN.git.example:8443",
        "GIT_AUTH_HEADER",
        "GIT_AUTH_TOKEN",
    )
    assert secret_names("ssh://git@git.example/app.git") == secret_names("git@git.example:app") == ()


def test_the_server_gets_it_and_nobody_else() -> None:
    found = login_settings(URL, {"GIT_AUTH_TOKEN": b"abc\n"})
    assert found["GIT_CONFIG_KEY_0"] == "http.https://git.example:8443/.extraheader"
    name, kind, login = found["GIT_CONFIG_VALUE_0"].split(" ")
    assert (name, kind, base64.b64decode(login)) == ("Authorization:", "basic", b"x-access-token:abc")
    both = login_settings(URL, {"GIT_AUTH_TOKEN": b"abc", "GIT_AUTH_HEADER.git.example:8443": b"Bearer x"})
    assert both["GIT_CONFIG_VALUE_0"] == "Authorization: Bearer x"
    assert login_settings(URL, {"GIT_AUTH_TOKEN.other": b"abc"}) == {}
    assert login_settings("git://git.example/app", {"GIT_AUTH_TOKEN": b"abc"}) == {}


@pytest.mark.parametrize("value", [b"a\r\nX: y", b"\xff", b"a\0b"])
def test_no_header_of_their_own(value: bytes) -> None:
    with pytest.raises(BuildError, match="the secret GIT_AUTH_HEADER is no value of a header"):
        login_settings(URL, {"GIT_AUTH_HEADER": value})
