"""cosign's forms, by key."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rundlet.trust import cosign
from rundlet.trust.errors import BadKeyError

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
KEYS: list[cosign.Private] = [
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate(),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)
def test_simple_signing(key: cosign.Private) -> None:
    payload = cosign.simple_payload("quay.io/app", DIGEST)
    signature = base64.b64encode(cosign.sign(key, payload)).decode()
    public = [KEYS[0].public_key(), key.public_key()]
    assert cosign.simple_is_good(payload, signature, DIGEST, public)
    assert not cosign.simple_is_good(payload, signature, OTHER, public)
    assert not cosign.simple_is_good(payload + b" ", signature, DIGEST, public)
    assert not cosign.simple_is_good(payload, signature, DIGEST, [ed25519.Ed25519PrivateKey.generate().public_key()])
    assert not cosign.simple_is_good(payload, "", DIGEST, public)
    assert not cosign.simple_is_good(payload, signature, DIGEST, [])


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"critical":{"image":{}}}', b'{"critical":null}'])
def test_signed_rubbish_is_no_signature_of_an_image(payload: bytes) -> None:
    signature = base64.b64encode(cosign.sign(KEYS[0], payload)).decode()
    assert not cosign.simple_is_good(payload, signature, DIGEST, [KEYS[0].public_key()])


def test_another_kind_of_document_is_none() -> None:
    payload = cosign.simple_payload("x", DIGEST).replace(cosign.TYPE.encode(), b"atomic container signature")
    signature = base64.b64encode(cosign.sign(KEYS[0], payload)).decode()
    assert not cosign.simple_is_good(payload, signature, DIGEST, [KEYS[0].public_key()])


def _bundle(digest: str, predicate: str = cosign.SIGN_PREDICATE, kind: str = cosign.IN_TOTO) -> bytes:
    algorithm, _, value = digest.partition(":")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: value}}],
        "predicateType": predicate,
        "predicate": {},
    }
    payload = json.dumps(statement).encode()
    signature = cosign.sign(KEYS[0], cosign.pre_authentication(kind, payload))
    envelope = {
        "payloadType": kind,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps({"mediaType": cosign.BUNDLE_PREFIX, "dsseEnvelope": envelope}).encode()


def test_bundles() -> None:
    keys = [KEYS[0].public_key()]
    assert cosign.bundle_is_good(_bundle(DIGEST), DIGEST, keys)
    assert not cosign.bundle_is_good(_bundle(OTHER), DIGEST, keys)
    assert not cosign.bundle_is_good(_bundle(DIGEST), DIGEST, [KEYS[1].public_key()])
    assert not cosign.bundle_is_good(_bundle(DIGEST, kind="text/plain"), DIGEST, keys)
    for rubbish in (b"", b"{}", b"[]", b'{"dsseEnvelope":{"payloadType":1}}'):
        assert not cosign.bundle_is_good(rubbish, DIGEST, keys)


def test_an_attestation_is_no_signature() -> None:
    """Who attests, say, to a scan does not release the image."""
    bundle = _bundle(DIGEST, "https://slsa.dev/provenance/v1")
    assert not cosign.bundle_is_good(bundle, DIGEST, [KEYS[0].public_key()])


def test_public_keys() -> None:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    assert cosign.load_public(KEYS[0].public_key().public_bytes(*form))
    short = rsa.generate_private_key(65537, 1024).public_key().public_bytes(*form)
    for data in (b"", b"x", short):
        with pytest.raises(BadKeyError):
            cosign.load_public(data)
