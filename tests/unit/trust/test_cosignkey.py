"""Keys as cosign itself files them. The golden was made by cosign 3.1.1 with the passphrase ``pw``."""

import base64
import builtins
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.conftest import lacking

from rundlet.trust import cosign, cosignkey, keyfile
from rundlet.trust.cosignkey import open_sealed
from rundlet.trust.errors import BadKeyError, PassphraseError

PRIVATE = """\
-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----
eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6
OCwicCI6MX0sInNhbHQiOiJwdzZjYUxLNVRBWlc5QS80OTRvRGYxNWVWZUZieUdt
QTlXWG5YbEFtemNzPSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94
Iiwibm9uY2UiOiJsM3JlbW1PdDRBTHlZc0Z1T25TQVZlNlBIUGVnSzROQSJ9LCJj
aXBoZXJ0ZXh0IjoiZVZyd1Yvc1NrQVhPcVpTMyt5VlpQeTBBOFc3T2hRWWNJUllN
ZmhsS2dxM0FMamxueEZET2hYZEF4dGRpN3h0VWlDSUtSYlhkenRDN3V5RFZmNGl3
b2ZFR2Vrc3V3L1ZnT21xalNZaHd0UlhJSWRZSERKUzY1azFFY1c5Z3hJWnlTbkts
TXMwVDZDeTVWNUpzSVFFVXpFZ3EyZTFGa29Lanl1V3VFSDRuTHJZSnJCRGxTcEIz
VEVaZW9rMHZBUURLU1hYVE05MEE5c3BFQkE9PSJ9
-----END ENCRYPTED SIGSTORE PRIVATE KEY-----
"""
PUBLIC = b"""\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEWTOrE2/YQ1lKh+uoDD4MDQxhsV7P
gy/IF2Q9cUIdS93Y5xH71ajXZVjD8d8jFd+GfQ3i054kEZJJugmORo2djQ==
-----END PUBLIC KEY-----
"""


@pytest.fixture
def _library() -> None:
    try:
        __import__("nacl.secret")
    except ImportError:
        lacking("the pynacl package is not installed")


def block(change: Callable[[dict[str, Any]], object] | None = None) -> keyfile.Block:
    """The golden, with its document changed."""
    found = keyfile.parse(PRIVATE.encode())
    if change is None:
        return found
    document = json.loads(found.data)
    change(document)
    return found._replace(data=json.dumps(document).encode())


@pytest.mark.usefixtures("_library")
def test_a_key_of_cosign_signs() -> None:
    assert cosignkey.is_sealed(block())
    key = open_sealed(block(), "pw")
    assert cosign.verifies(cosign.load_public(PUBLIC), b"said", cosign.sign(key.key, b"said"))


@pytest.mark.usefixtures("_library")
def test_a_wrong_passphrase_and_a_changed_key() -> None:
    for wrong in ("", "PW"):
        with pytest.raises(PassphraseError):
            open_sealed(block(), wrong)
    with pytest.raises(PassphraseError):
        open_sealed(block(lambda it: it.update(ciphertext=base64.b64encode(b"x" * 80).decode())), "pw")


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda it: it.pop("kdf"), "can't be read"),
        (lambda it: it.update(ciphertext="%"), "can't be read"),
        (lambda it: it["kdf"]["params"].update(N="2"), "can't be read"),
        (lambda it: it["kdf"]["params"].update(r=-1), "can't be read"),
        (lambda it: it["kdf"].update(name="argon2"), "unknown way"),
        (lambda it: it["cipher"].update(nonce="AAAA"), "unknown way"),
        (lambda it: it["kdf"]["params"].update(N=65537), "can't be opened"),
        (lambda it: it["kdf"]["params"].update(N=1 << 24), "too much memory or time"),
        (lambda it: it["kdf"]["params"].update(p=1 << 16), "too much memory or time"),
    ],
)
def test_broken_ones(change: Callable[[dict[str, Any]], object], words: str) -> None:
    with pytest.raises(BadKeyError, match=words):
        open_sealed(block(change), "pw")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *more: Any, **named: Any) -> Any:
        if name.startswith("nacl"):
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadKeyError, match=r"pip install 'rundlet\[cosign\]'"):
        open_sealed(block(), "pw")
