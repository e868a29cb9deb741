"""What is asked of a registry for a signature, and what is not."""

import asyncio
import sys
from datetime import UTC, datetime
from typing import cast

import pytest

from rundlet.image.signatures import Signatures
from rundlet.oci.digest import Digest
from rundlet.oci.reference import Reference
from rundlet.registry import Fetcher
from rundlet.transport.http import HttpClient
from rundlet.trust.policy import Rule
from rundlet.trust.sigstore import KeylessError


class UntouchedFetcher:
    """Asked for anything, it fails."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was asked for")


def test_without_the_library_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that needs a package which is missing fails closed, and names the command that gets it."""
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    rule = Rule("cosign", {"identity": "a@b.example", "issuer": "https://i.example", "trust-root": "/r"}, {"/r": b"{}"})
    signatures = Signatures(cast(Fetcher, UntouchedFetcher()), Reference.parse("registry.example/app"), HttpClient())
    with pytest.raises(KeylessError, match=r"which is not installed: pip install 'rundlet\[sigstore\]'"):
        asyncio.run(signatures.check(Digest("sha256", "0" * 64), rule, datetime(2026, 1, 1, tzinfo=UTC)))
