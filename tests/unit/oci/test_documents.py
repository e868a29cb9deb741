"""Manifests, indexes, configs, digests and platforms: what is accepted, what is refused, what is chosen."""

import json
import pickle

import pytest

from rundlet.errors import InvalidParameterError
from rundlet.oci import mediatype
from rundlet.oci.codec import InvalidDocumentError
from rundlet.oci.config import ImageConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.layer import chain_id, chain_ids
from rundlet.oci.manifest import Index, Manifest, UnsupportedManifestError, decode_any
from rundlet.oci.platform import Platform

A = Digest.of(b"a")
B = Digest.of(b"b")


def _manifest(**changes: object) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": mediatype.DOCKER_MANIFEST,
        "config": {"mediaType": mediatype.DOCKER_CONFIG, "size": 7, "digest": str(A)},
        "layers": [{"mediaType": mediatype.DOCKER_LAYER_GZIP, "size": 9, "digest": str(B)}],
        **changes,
    }
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def _index(*platforms: dict[str, str] | None) -> Index:
    entries = []
    for number, platform in enumerate(platforms):
        entry: dict[str, object] = {
            "mediaType": mediatype.OCI_MANIFEST,
            "size": number,
            "digest": str(Digest.of(str(number).encode())),
        }
        if platform is not None:
            entry["platform"] = platform
        entries.append(entry)
    return Index.decode(json.dumps({"schemaVersion": 2, "manifests": entries}).encode())


def test_digest() -> None:
    assert str(Digest.parse(str(A))) == str(A)
    assert A != B and hash(A) == hash(Digest.parse(str(A)))
    assert pickle.loads(pickle.dumps(A)) == A
    assert A.verifies(b"a") and not A.verifies(b"b")
    with pytest.raises(AttributeError):
        A.encoded = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid checksum digest format"),
        ("sha256:", "invalid checksum digest format"),
        (":abc", "invalid checksum digest format"),
        ("sha256:abc", "invalid checksum digest length"),
        ("sha256:" + "g" * 64, "invalid checksum digest format"),
        ("md5:abc", "unsupported digest algorithm"),
        ("sha256:../../../../etc/passwd", "invalid checksum digest length"),
        ("../x:abc", "invalid checksum digest format"),
        ("sha256:" + "a" * 63 + "\n", "invalid checksum digest format"),
    ],
)
def test_digest_errors(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Digest.parse(text)
    assert str(caught.value) == message


def test_chain_ids_follow_the_specification() -> None:
    assert chain_id([]) is None
    assert chain_ids([A]) == (A,)
    assert chain_ids([A, B]) == (A, Digest.of(f"{A} {B}".encode()))


def test_manifest_is_a_view() -> None:
    manifest = decode_any(_manifest(unknown={"x": 1}))
    assert isinstance(manifest, Manifest)
    assert manifest.layers[0].digest == B
    again = Manifest.decode(manifest.encode())
    assert again == manifest
    assert manifest.encode().startswith(b'{\n   "schemaVersion": 2,\n   "mediaType": ')


@pytest.mark.parametrize("version", [0, ...])
def test_the_media_type_says_enough_without_a_version(version: object) -> None:
    """As libraries write a manifest that was never given a version; Docker looks at the media type only."""
    found = decode_any(_manifest(schemaVersion=version, mediaType=mediatype.OCI_MANIFEST))
    assert isinstance(found, Manifest)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", InvalidDocumentError),
        (b"[]", InvalidDocumentError),
        (b"<html>", InvalidDocumentError),
        (b"[" * 100000, InvalidDocumentError),
        (_manifest(schemaVersion=1), UnsupportedManifestError),
        (_manifest(schemaVersion=3), InvalidDocumentError),
        (_manifest(schemaVersion=0, mediaType=""), InvalidDocumentError),
        (_manifest(manifests=[]), InvalidDocumentError),
        (_manifest(mediaType=mediatype.OCI_INDEX), InvalidDocumentError),
        (_manifest(mediaType="text/html"), UnsupportedManifestError),
        (_manifest(config=...), InvalidDocumentError),
        (_manifest(layers=[{"mediaType": "x", "size": -1, "digest": str(A)}]), InvalidDocumentError),
        (_manifest(layers=[{"mediaType": "x", "size": 1, "digest": "sha256:../../x"}]), InvalidDocumentError),
        (_manifest(layers=[{"mediaType": "x", "size": "1", "digest": str(A)}]), InvalidDocumentError),
        (
            _manifest(layers=[{"mediaType": "x", "size": 1, "digest": str(A)}] * 128),
            UnsupportedManifestError,
        ),
    ],
)
def test_bad_manifests(data: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        decode_any(data)


def test_registry_and_document_must_agree() -> None:
    with pytest.raises(InvalidDocumentError):
        decode_any(_manifest(), mediatype.OCI_INDEX)
    with pytest.raises(InvalidDocumentError):
        decode_any(_manifest(mediaType=...), mediatype.OCI_INDEX)
    assert isinstance(decode_any(_manifest(), "application/octet-stream"), Manifest)


def test_choice_of_platform() -> None:
    index = _index(
        {"os": "unknown", "architecture": "unknown"},
        {"os": "linux", "architecture": "386"},
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v6"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    )

    def chosen(text: str, exact: bool = False) -> int | None:
        descriptor = index.choose(Platform.parse(text), exact=exact)
        return None if descriptor is None else descriptor.size

    assert chosen("linux/amd64") == 2
    assert chosen("linux/x86_64", exact=True) == 2
    assert chosen("linux/386") == 1
    assert chosen("linux/arm64") == 5
    assert chosen("linux/arm/v7") == 4
    assert chosen("linux/arm/v5") is None
    assert chosen("linux/s390x") is None
    assert chosen("windows/amd64") is None
    older = _index({"os": "linux", "architecture": "386"})
    assert older.choose(Platform("amd64", "linux")) is not None
    assert older.choose(Platform("amd64", "linux"), exact=True) is None


def test_attestations_are_never_chosen_and_a_nameless_entry_is_the_last_choice() -> None:
    attestation = Descriptor(mediatype.OCI_MANIFEST, A, 1, annotations={"vnd.docker.reference.type": "attestation"})
    assert Index(schema_version=2, manifests=(attestation,)).choose(Platform("amd64", "linux")) is None
    chosen = _index(None, {"os": "linux", "architecture": "amd64"}).choose(Platform("amd64", "linux"))
    assert chosen is not None and chosen.size == 1
    assert _index(None).choose(Platform("amd64", "linux")) is not None
    assert Index.decode(b'{"schemaVersion":2,"manifests":null}').choose(Platform("amd64", "linux")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64/v1", "linux/amd64"),
        ("Linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("arm64", "linux/arm64"),
        ("i386", "linux/386"),
        ("macos/arm64", "darwin/arm64"),
    ],
)
def test_platforms(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/ß", "linux/", "gibberish"])
def test_bad_platforms(text: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid argument"):
        Platform.parse(text)


def test_config_view() -> None:
    config = ImageConfig.decode(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {
                    "Env": ["A=b"],
                    "Cmd": None,
                    "Labels": None,
                    "Healthcheck": {"Test": ["NONE"], "Retries": 3},
                },
                "rootfs": {"type": "layers", "diff_ids": [str(A)]},
                "history": [{"created_by": "x", "empty_layer": True}],
                "moby.buildkit.buildinfo.v1": "kept only in the bytes",
            }
        ).encode()
    )
    assert config.config is not None and config.config.env == ["A=b"]
    assert config.config.healthcheck is not None and config.config.healthcheck.retries == 3
    assert config.diff_ids == (A,)
    assert config.platform == Platform("amd64", "linux")
    assert ImageConfig.decode(config.encode()) == config


def test_config_reads_what_go_reads() -> None:
    config = ImageConfig.decode(
        b'{"architecture":null,"config":{"Hostname":null,"Entrypoint":"/bin/sh","Cmd":["a"]},"rootfs":null}'
    )
    assert config.config is not None
    assert config.config.entrypoint == ["/bin/sh"]
    assert config.diff_ids == ()
    assert config.platform.os == "linux"


@pytest.mark.parametrize("data", [b"", b"null", b"3", b'{"config":3}', b'{"rootfs":{"type":"x","diff_ids":[]}}'])
def test_bad_configs(data: bytes) -> None:
    with pytest.raises(InvalidDocumentError):
        ImageConfig.decode(data)


def test_media_types() -> None:
    assert mediatype.layer_compression(mediatype.DOCKER_LAYER_GZIP) == "gzip"
    assert mediatype.layer_compression("text/plain") is None
    assert mediatype.is_foreign_layer(mediatype.DOCKER_FOREIGN_LAYER)
    assert not mediatype.is_foreign_layer(mediatype.OCI_LAYER)
