"""Keyless cosign signatures: bundles checked offline against a given trust root, by the ``sigstore`` library.

The library is an extra. A policy that needs it refuses everything while it is missing.
"""

import tempfile
from typing import Any

from rundlet.trust.cosign import statement_is_about
from rundlet.trust.errors import TrustError

COMMAND = "pip install 'rundlet[sigstore]'"


class KeylessError(TrustError):
    """Why a bundle is not believed, or can't be checked."""

    reason = "trust-keyless"


def verify(bundle: bytes, digest: str, identity: str, issuer: str, trust_root: bytes) -> None:
    """Raises KeylessError unless ``identity``, vouched for by ``issuer``, signed ``digest``.

    ``trust_root`` is a ``trusted_root.json``: nothing is fetched.
    """
    library = _load()
    try:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(trust_root)
            file.flush()
            root = library.TrustedRoot.from_file(file.name)
        verifier = library.Verifier(trusted_root=root)
        parsed = library.Bundle.from_json(bundle)
        kind, payload = verifier.verify_dsse(parsed, library.Identity(identity=identity, issuer=issuer))
    except library.errors as exc:
        raise KeylessError(f"the bundle is not believed: {exc}") from exc
    if kind != "application/vnd.in-toto+json" or not statement_is_about(payload, digest):
        raise KeylessError("the bundle signs something else")


def require() -> None:
    """Raises KeylessError where the library is missing."""
    _load()


class _Library:
    """The names of the library that are used here."""

    TrustedRoot: Any
    Verifier: Any
    Bundle: Any
    Identity: Any
    errors: tuple[type[Exception], ...]


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
        found.errors = (importlib.import_module("sigstore.errors").Error, ValueError, KeyError, TypeError)
    except (ImportError, AttributeError) as exc:
        raise KeylessError(f"keyless signatures need the sigstore package, which is not installed: {COMMAND}") from exc
    return found
