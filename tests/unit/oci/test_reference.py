"""The reference grammar, as Docker documents and tests it."""

import pytest

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest
from rundlet.oci.reference import InvalidReferenceError, Reference, identifier_prefixes, is_full_identifier

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("debian", "docker.io/library/debian", "debian"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("library/debian", "docker.io/library/debian", "debian"),
        ("docker.io/debian", "docker.io/library/debian", "debian"),
        ("docker.io/library/debian:12", "docker.io/library/debian:12", "debian:12"),
        ("index.docker.io/library/debian", "docker.io/library/debian", "debian"),
        ("index.docker.io/debian", "docker.io/library/debian", "debian"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("host/app", "docker.io/host/app", "host/app"),
        ("Host/app", "Host/app", "Host/app"),
        ("quay.io/a/b/c:t", "quay.io/a/b/c:t", "quay.io/a/b/c:t"),
        ("127.0.0.1:5000/app", "127.0.0.1:5000/app", "127.0.0.1:5000/app"),
        ("[::1]:5000/app:x", "[::1]:5000/app:x", "[::1]:5000/app:x"),
        ("[fd00:1:2::3]/app", "[fd00:1:2::3]/app", "[fd00:1:2::3]/app"),
        ("xn--7o8h.com/app", "xn--7o8h.com/app", "xn--7o8h.com/app"),
        ("a__b/c--d.e_f:V1.0-x_Y", "docker.io/a__b/c--d.e_f:V1.0-x_Y", "a__b/c--d.e_f:V1.0-x_Y"),
        (f"debian@sha256:{HEX}", f"docker.io/library/debian@sha256:{HEX}", f"debian@sha256:{HEX}"),
        (f"debian:12@sha256:{HEX}", f"docker.io/library/debian:12@sha256:{HEX}", f"debian:12@sha256:{HEX}"),
        ("deadbeef", "docker.io/library/deadbeef", "deadbeef"),
        ("debian:" + "t" * 128, "docker.io/library/debian:" + "t" * 128, "debian:" + "t" * 128),
    ],
)
def test_names_normalise(text: str, canonical: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert reference.canonical == canonical
    assert reference.familiar == familiar
    assert Reference.parse(reference.canonical) == reference
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        (":latest", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-debian", "invalid reference format"),
        ("debian:", "invalid reference format"),
        ("debian:-x", "invalid reference format"),
        ("debian:" + "t" * 129, "invalid reference format"),
        ("deb ian", "invalid reference format"),
        ("debian\n", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("http://host/app", "invalid reference format"),
        ("[::1/app", "invalid reference format"),
        ("[fe80::1%eth0]/app", "invalid reference format"),
        ("host:port/app", "invalid reference format"),
        ("-host.com/app", "invalid reference format"),
        ("debian@sha256:abc", "invalid reference format"),
        ("débian", "invalid reference format"),
        ("Debian", "invalid reference format: repository name (library/Debian) must be lowercase"),
        ("user/App:1", "invalid reference format: repository name (user/App) must be lowercase"),
        ("quay.io/User/app", "invalid reference format: repository name (User/app) must be lowercase"),
        ("Host/App", "invalid reference format: repository name (App) must be lowercase"),
        (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        ("host.com/" + "a" * 256, "repository name must not be more than 255 characters"),
        ("a" * 248, "repository name must not be more than 255 characters"),
        ("debian@sha256:" + "a" * 63, "invalid checksum digest length"),
        ("debian@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("debian@sha999:" + "a" * 64, "unsupported digest algorithm"),
    ],
)
def test_errors_have_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Reference.parse(text)
    assert str(caught.value) == message
    assert caught.value.status == 400


def test_longest_name() -> None:
    assert Reference.parse("host.com/" + "a" * 255).path == "a" * 255


def test_tags_and_digests() -> None:
    digest = Digest.parse(f"sha256:{HEX}")
    reference = Reference.parse("debian")
    assert reference.name_only
    assert reference.with_default_tag().familiar == "debian:latest"
    assert reference.with_tag("12").with_default_tag().tag == "12"
    assert reference.with_tag("12").with_digest(digest).familiar == f"debian@sha256:{HEX}"
    assert reference.with_tag("12").trimmed() == reference
    with pytest.raises(InvalidReferenceError, match="invalid tag format"):
        reference.with_tag("a b")


def test_identifiers() -> None:
    assert identifier_prefixes("deadbeef") == ("sha256:deadbeef", "sha384:deadbeef", "sha512:deadbeef")
    assert identifier_prefixes("sha256:dead") == ("sha256:dead",)
    assert identifier_prefixes("sha512:" + HEX * 2) == ("sha512:" + HEX * 2,)
    assert f"sha256:{HEX}" in identifier_prefixes(HEX)
    for text in ("debian", "DEAD", "md5:dead", "sha256:", HEX * 2 + "0"):
        assert identifier_prefixes(text) == ()
    assert is_full_identifier(HEX)
    assert is_full_identifier(f"sha256:{HEX}")
    assert not is_full_identifier("deadbeef")
