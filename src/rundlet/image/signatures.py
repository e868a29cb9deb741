"""Signatures that lie beside an image in its registry: found by the referrers API or by their tag, and verified."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

from rundlet.errors import NotFoundError, RundletError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import Manifest
from rundlet.oci.reference import Reference
from rundlet.registry import Fetcher
from rundlet.transport.http import HttpClient
from rundlet.trust import cosign
from rundlet.trust.errors import TrustError
from rundlet.trust.policy import Rule

_log = logging.getLogger(__name__)

SIGNATURES_AT_MOST: Final = 64
"""Of one image; more are an attempt to keep the engine busy."""


class NoSignatureError(TrustError):
    """No signature that the rule asks for."""

    reason = "trust-no-signature"

    def __init__(self, found: int) -> None:
        seen = f"none of its {found} signatures is good" if found else "it is not signed"
        super().__init__(f"no matching signatures: {seen}")


def _nothing_good(refusals: list[TrustError]) -> TrustError:
    """Why each signature is not believed, every reason once."""
    if not refusals:
        return NoSignatureError(0)
    return TrustError(f"no matching signatures: {'; '.join(dict.fromkeys(map(str, refusals)))}")


class Signatures:
    """Of one repository's images."""

    def __init__(self, fetcher: Fetcher, name: Reference, http: HttpClient) -> None:
        """``http`` asks authorities whether they have taken back a certificate."""
        self._fetcher = fetcher
        self._name = name
        self._http = http

    async def check(self, digest: Digest, rule: Rule, now: datetime) -> datetime | None:
        """Until when ``digest`` is signed as ``rule`` demands; None is for ever. Raises TrustError."""
        if rule.kind == "notation":
            return await self._notation(str(digest), rule, now)
        if "identity" in rule.settings:
            await self._keyless(str(digest), rule)
        else:
            await self._cosign(str(digest), rule)
        return None

    # ── cosign ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _cosign(self, digest: str, rule: Rule) -> None:
        keys = [cosign.load_public(data) for data in rule.files.values()]
        found = 0
        async for layer in self._cosign_layers(digest):
            if found >= SIGNATURES_AT_MOST:
                break
            found += 1
            data = await self._fetcher.small(layer, cosign.DOCUMENT_LIMIT)
            if layer.media_type.startswith(cosign.BUNDLE_PREFIX):
                good = cosign.bundle_is_good(data, digest, keys)
            else:
                text = (layer.annotations or {}).get(cosign.ANNOTATION, "")
                good = cosign.simple_is_good(data, text, digest, keys)
            if good:
                return
        raise NoSignatureError(found)

    async def _keyless(self, digest: str, rule: Rule) -> None:
        from rundlet.trust import sigstore

        sigstore.require()  # before anything is fetched: without the library nothing can be good
        (root,) = rule.files.values()
        identity, issuer = rule.settings["identity"], rule.settings["issuer"]
        refusals: list[TrustError] = []
        async for layer in self._cosign_layers(digest):
            if len(refusals) >= SIGNATURES_AT_MOST:
                break
            data = await self._fetcher.small(layer, cosign.DOCUMENT_LIMIT)
            try:
                if layer.media_type.startswith(cosign.BUNDLE_PREFIX):
                    return await asyncio.to_thread(sigstore.verify, data, digest, identity, issuer, root)
                notes = layer.annotations or {}
                if sigstore.CERTIFICATE not in notes:
                    raise TrustError("a signature by key, of which the rule knows nothing")
                return await asyncio.to_thread(sigstore.verify_simple, data, notes, digest, identity, issuer, root)
            except TrustError as exc:
                refusals.append(exc)
        raise _nothing_good(refusals)

    # ── Notation ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _notation(self, digest: str, rule: Rule, now: datetime) -> datetime | None:
        from rundlet.image.revocations import settle
        from rundlet.trust import notation

        demands = notation.demands_of(rule)
        notation.require(demands)  # before anything is fetched
        refusals: list[TrustError] = []
        async for manifest in self._manifests(digest, ""):
            kind = manifest.artifact_type or manifest.config.media_type
            if kind != notation.ARTIFACT or len(manifest.layers) != 1 or len(refusals) >= SIGNATURES_AT_MOST:
                continue
            layer = manifest.layers[0]
            data = await self._fetcher.small(layer, notation.ENVELOPE_LIMIT)
            try:
                exchange = notation.verify(data, layer.media_type, digest, demands, now)
                verdict = await settle(exchange, self._http)
            except TrustError as exc:
                refusals.append(exc)
                continue
            for failure in verdict.logged:
                _log.warning("trust policy (%s): %s@%s: %s", rule, self._name.name, digest, failure)
            return verdict.until
        if rule.settings.get("level") == "audit" and not refusals:
            _log.warning("trust policy (%s): %s@%s: it is not signed", rule, self._name.name, digest)
            return None
        raise _nothing_good(refusals)

    # ── where they are ───────────────────────────────────────────────────────────────────────────────────────

    async def _cosign_layers(self, digest: str) -> AsyncIterator[Descriptor]:
        async for manifest in self._manifests(digest, cosign.signature_tag(digest)):
            for layer in manifest.layers:
                if layer.media_type == cosign.SIMPLE or layer.media_type.startswith(cosign.BUNDLE_PREFIX):
                    yield layer

    async def _manifests(self, digest: str, tag: str) -> AsyncIterator[Manifest]:
        """The manifest under ``tag``, where there is one, and all that refer to ``digest``."""
        if tag:
            try:
                target = await self._fetcher.resolve(self._name.trimmed().with_tag(tag))
            except NotFoundError:
                target = None
            if target is not None:
                yield await self._manifest(target)
        for descriptor in (await self._fetcher.referrers(Digest.parse(digest)))[:SIGNATURES_AT_MOST]:
            try:
                yield await self._manifest(descriptor)
            except RundletError:
                continue  # what is no manifest is no signature

    async def _manifest(self, descriptor: Descriptor) -> Manifest:
        _, data = await self._fetcher.manifest(descriptor)
        return Manifest.decode(data)
