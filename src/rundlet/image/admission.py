"""Which images may be pulled and run: the trust policy, enforced where every client has to pass.

What is verified is a manifest's digest under a repository's rule. It is noted, so that a later ``run`` needs no
network; the note counts for that rule and those keys only, for a signed tag only until its trust data expire, and for
a Notation signature until it, its certificates or what their authorities say of them end.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from rundlet.errors import RundletError
from rundlet.image.records import Image
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.reference import Reference, identifier_prefixes
from rundlet.registry import Credentials, Fetcher, Registry
from rundlet.transport.http import HttpClient
from rundlet.trust.errors import NoSuchTargetError, TrustError
from rundlet.trust.policy import PolicyFile, RejectedError, Rule
from rundlet.util.clock import Clock
from rundlet.util.database import Database

SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS trusted_images (repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, "
    "rule TEXT NOT NULL, until_ns INTEGER NOT NULL, PRIMARY KEY (repository, tag, digest)) WITHOUT ROWID",
)
FOREVER_NS: Final = 2**63 - 1


class Admission:
    """Made by the wiring; with an empty policy every image is let through without a question."""

    def __init__(
        self,
        policy: PolicyFile,
        registry: Registry,
        http: HttpClient,
        directory: str,
        database: Database,
        clock: Clock,
    ) -> None:
        """``directory`` is for trust data; ``http`` for what is asked of others than registries."""
        self._policy = policy
        self._registry = registry
        self._http = http
        self._directory = directory
        self._database = database
        self._clock = clock

    def rule_for(self, reference: Reference) -> Rule:
        """Raises PolicyError."""
        return self._policy.current().rule_for(reference.name)

    # ── pull ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def resolve(self, fetcher: Fetcher, reference: Reference, credentials: Credentials | None) -> Descriptor:
        """What is to be pulled for ``reference``: verified before anything of it is fetched.

        With signed tags it is the digest that was signed, whatever the registry has under the tag. Raises
        RejectedError, PolicyError, and what resolving raises.
        """
        rule = self.rule_for(reference)
        if rule.accepts_all:
            return await fetcher.resolve(reference)
        try:
            return await self._verified(fetcher, reference, credentials, rule)
        except TrustError as exc:
            if isinstance(exc, RejectedError):
                raise
            raise RejectedError(reference.familiar, str(rule), exc.explain(reference.name)) from exc

    async def _verified(
        self, fetcher: Fetcher, reference: Reference, credentials: Credentials | None, rule: Rule
    ) -> Descriptor:
        if rule.kind == "reject":
            raise TrustError("nothing of it may be used")
        if rule.kind == "dct":
            digest, until_ns = await self._signed(reference, credentials, rule)
            target = await fetcher.resolve(reference.trimmed().with_digest(digest))
            await self._note(reference, target.digest, rule, until_ns, tag=reference.tag or "")
            return target
        # Cryptography is loaded by those who use it: an engine without a policy starts without.
        from rundlet.image.signatures import Signatures

        target = await fetcher.resolve(reference)
        until = await Signatures(fetcher, reference, self._http).check(target.digest, rule, self._now())
        until_ns = FOREVER_NS if until is None else int(until.timestamp()) * 10**9
        await self._note(reference, target.digest, rule, until_ns, tag="")
        return target

    async def _signed(self, reference: Reference, credentials: Credentials | None, rule: Rule) -> tuple[Digest, int]:
        """The digest that is signed for a tag, or the wanted one when any tag is signed for it; and until when."""
        from rundlet.image.trustdata import TrustData

        trusted = await TrustData(self._registry, self._directory).fetch(reference, credentials, rule, self._now())
        assert trusted.timestamp is not None
        until_ns = int(trusted.timestamp.expires.timestamp()) * 10**9
        if reference.digest is None:
            digest = trusted.find(reference.tag or "latest").meta.hashes.get("sha256", b"")
            return Digest("sha256", digest.hex()), until_ns
        for signed in trusted.released().values():
            if reference.digest == Digest("sha256", signed.meta.hashes.get("sha256", b"").hex()):
                return reference.digest, until_ns
        raise NoSuchTargetError(str(reference.digest))

    # ── run and build ────────────────────────────────────────────────────────────────────────────────────────

    async def admit(self, text: str, image: Image, credentials: Credentials | None = None) -> None:
        """Whether ``image``, asked for as ``text``, may be run or built upon. Raises RejectedError, PolicyError."""
        names = _names(text, image)
        rules = [(name, self.rule_for(name)) for name in names]
        if not names:
            default = self._policy.current().default
            if not default.accepts_all:
                raise RejectedError(text, str(default), "it has no name that could be signed")
            return
        refusals: list[RundletError] = []
        for name, rule in rules:
            try:
                await self._admit(name, image, rule, credentials)
            except RundletError as exc:
                refusals.append(exc)
            else:
                return
        raise refusals[0]

    async def _admit(self, name: Reference, image: Image, rule: Rule, credentials: Credentials | None) -> None:
        if rule.accepts_all:
            return
        digests = [name.digest] if name.digest else _digests(name, image)
        for digest in digests:
            if digest is not None and self._noted(name, digest, rule):
                return
        # Not yet verified under this rule: it came by load or tag, the policy is new, or the trust data have expired.
        try:
            target = await self.resolve(self._registry.fetcher(name, credentials), name, credentials)
        except RundletError as exc:
            if isinstance(exc, RejectedError):
                raise
            raise RejectedError(name.familiar, str(rule), str(exc)) from exc
        if target.digest not in digests:
            raise RejectedError(name.familiar, str(rule), f"{target.digest} is signed, and that is another image")

    # ── notes ────────────────────────────────────────────────────────────────────────────────────────────────

    def _now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self._clock.now_ns() // 1000)

    def _noted(self, name: Reference, digest: Digest, rule: Rule) -> bool:
        tag = name.tag or "" if rule.kind == "dct" and name.digest is None else None
        sql = "SELECT tag FROM trusted_images WHERE repository = ? AND digest = ? AND rule = ? AND until_ns > ?"
        rows = self._database.query(sql, (name.name, str(digest), rule.fingerprint, self._clock.now_ns()))
        return any(tag is None or found == tag for (found,) in rows)

    async def _note(self, name: Reference, digest: Digest, rule: Rule, until_ns: int, *, tag: str) -> None:
        row = (name.name, tag, str(digest), rule.fingerprint, until_ns)

        def write() -> None:
            with self._database.transaction() as cursor:
                cursor.execute("INSERT OR REPLACE INTO trusted_images VALUES (?, ?, ?, ?, ?)", row)

        await asyncio.to_thread(write)


def _names(text: str, image: Image) -> list[Reference]:
    """The name that was asked for; by an ID all names of the image, of which one has to be good."""
    if identifier_prefixes(text) and not _is_name(text, image):
        return [*image.tags, *image.digests]
    return [Reference.parse(text).with_default_tag()]


def _is_name(text: str, image: Image) -> bool:
    """``abcdef`` may be a name as well as the beginning of an ID."""
    try:
        name = Reference.parse(text).with_default_tag()
    except RundletError:
        return False
    return name in image.tags or name in image.digests


def _digests(name: Reference, image: Image) -> list[Digest]:
    """The manifests' digests of an image: its own, and those in the repository of ``name`` that led to it."""
    named = [item.digest for item in image.digests if item.name == name.name and item.digest is not None]
    return [*named, image.manifest.digest]
