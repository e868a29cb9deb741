"""Keyless cosign signatures: checked offline against a given trust root, by the ``sigstore`` library.

Two forms: bundles, and cosign's older signatures under ``sha256-….sig``, whose certificate and log entry are
annotations. The library is an extra. A policy that needs it refuses everything while it is missing.
See: Sigstore client specification, "Verification"; cosign's SIGNATURE_SPEC.md, "Properties".
"""

import base64
import json
import tempfile
from collections.abc import Mapping
from typing import Any, Final

from rundlet.trust.cosign import ANNOTATION, IN_TOTO, simple_is_about, statement_is_about
from rundlet.trust.errors import TrustError

COMMAND = "pip install 'rundlet[sigstore]'"
CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
LOG_ENTRY: Final = "dev.sigstore.cosign/bundle"

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"


class KeylessError(TrustError):
    """Why a signature is not believed, or can't be checked."""

    reason = "trust-keyless"


def verify(bundle: bytes, digest: str, identity: str, issuer: str, trust_root: bytes) -> None:
    """Raises KeylessError unless ``identity``, vouched for by ``issuer``, signed ``digest``.

    ``trust_root`` is a ``trusted_root.json``: nothing is fetched.
    """
    library = _load()
    try:
        verifier = _verifier(library, trust_root)
        parsed = library.Bundle.from_json(bundle)
        kind, payload = verifier.verify_dsse(parsed, library.Identity(identity=identity, issuer=issuer))
    except Exception as exc:  # whatever the library makes of a stranger's bytes, it is no proof
        raise KeylessError(f"the bundle is not believed: {_line(exc)}") from exc
    if kind != IN_TOTO or not statement_is_about(payload, digest):
        raise KeylessError("the bundle signs something else")


def verify_simple(
    payload: bytes, annotations: Mapping[str, str], digest: str, identity: str, issuer: str, trust_root: bytes
) -> None:
    """As :func:`verify`, for a simple signing document and the annotations of its layer.

    The log's promise (signed entry timestamp) stands for the proof that the entry is in it, as in cosign.
    """
    library = _load()
    try:
        verifier = _verifier(library, trust_root)
        parsed = library.Bundle.from_json(_as_bundle(annotations))
        entry = parsed.log_entry
        # There is no proof of inclusion to be verified; should the library ask for it all the same, it finds none.
        entry._verify = entry._verify_set
        verifier.verify_artifact(payload, parsed, library.Identity(identity=identity, issuer=issuer))
    except Exception as exc:
        raise KeylessError(f"the signature is not believed: {_line(exc)}") from exc
    if not simple_is_about(payload, digest):
        raise KeylessError("the signature is one of something else")


def require() -> None:
    """Raises KeylessError where the library is missing."""
    _load()


def _line(exc: Exception) -> str:
    """The first line: the library's own goes over many."""
    lines = str(exc).strip().splitlines()
    return lines[0][:160] if lines else type(exc).__name__


def _verifier(library: "_Library", trust_root: bytes) -> Any:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(trust_root)
        file.flush()
        root = library.TrustedRoot.from_file(file.name)
    return library.Verifier(trusted_root=root)


def _as_bundle(annotations: Mapping[str, str]) -> str:
    """Raises KeyError, ValueError, TypeError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = x509.load_pem_x509_certificate(annotations[CERTIFICATE].encode())
    logged = json.loads(annotations[LOG_ENTRY])
    inside = logged["Payload"]
    body = json.loads(base64.b64decode(inside["body"], validate=True))
    entry = {
        "logIndex": str(int(inside["logIndex"])),
        "logId": {"keyId": _text(bytes.fromhex(inside["logID"]))},
        "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
        "integratedTime": str(int(inside["integratedTime"])),
        "inclusionPromise": {"signedEntryTimestamp": logged["SignedEntryTimestamp"]},
        # The library demands one to be there. This is one that proves nothing.
        "inclusionProof": {
            "logIndex": "0",
            "rootHash": "",
            "treeSize": "1",
            "hashes": [],
            "checkpoint": {"envelope": "none"},
        },
        "canonicalizedBody": inside["body"],
    }
    document = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {
            "certificate": {"rawBytes": _text(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [entry],
        },
        "messageSignature": {"signature": annotations[ANNOTATION]},
    }
    return json.dumps(document)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class _Library:
    """The names of the library that are used here."""

    TrustedRoot: Any
    Verifier: Any
    Bundle: Any
    Identity: Any


def _load() -> _Library:
    """Raises KeylessError."""
    import importlib

    found = _Library()
    try:
        models = importlib.import_module("sigstore.models")
        found.Bundle = models.Bundle
        found.TrustedRoot = models.TrustedRoot
        found.Verifier = importlib.import_module("sigstore.verify").Verifier
        found.Identity = importlib.import_module("sigstore.verify.policy").Identity
    except (ImportError, AttributeError) as exc:
        raise KeylessError(f"keyless signatures need the sigstore package, which is not installed: {COMMAND}") from exc
    return found
