"""Names of images: the command line and the engine read them alike, and say the same of those that are none."""

import pytest

from rundlet.cli.exit import CommandError
from rundlet.cli.reference import parse
from rundlet.errors import RundletError
from rundlet.oci.reference import Reference

HEX = "0123456789abcdef" * 4


NAMES = """
    debian library/debian docker.io/library/debian index.docker.io/library/debian:12 a.b/c a:1/c localhost/x Host/x
    [::1]:5000/x:1 UPPER a//b x: x:y:z http://x/y ü -x x@ x@sha256:12 a__b a___b a..b a--b a-.b UPPER:1@x x@Sha256:1
"""
DIGESTS = [f"sha256:{HEX}", f"sha512:{HEX * 2}", f"sha256:{HEX}0", f"sha256:{HEX[1:]}", f"md5:{HEX[:32]}", f"a+b:{HEX}"]
DIGESTS += [f"a++b:{HEX}", f"1a:{HEX}", f"sha256:{HEX.upper()}", f":{HEX}", f"sha256:{HEX}@sha256:{HEX}"]


@pytest.mark.parametrize(
    "text",
    [
        *NAMES.split(),
        *(f"{name}@{digest}" for name in ("x", "x:1", "x:", "UPPER", "h.x/y") for digest in DIGESTS),
        *(before + "a" * length for before in ("", "h.x/") for length in (247, 248, 255, 256)),
        *("", " ", "a b", f"x:{'t' * 128}", f"x:{'t' * 129}", HEX),
    ],
)
def test_as_the_engine(text: str) -> None:
    try:
        expected = Reference.parse(text).canonical
    except RundletError as exc:
        expected = str(exc)
    try:
        found = str(parse(text))
    except CommandError as exc:
        found = exc.message
    assert found == expected
