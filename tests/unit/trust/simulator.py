"""A trust server in memory whose owner, or whoever stole his keys, can publish anything."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from rundlet.trust import canonical
from rundlet.trust.certificates import certificate_key
from rundlet.trust.keys import PrivateKey, generate
from rundlet.trust.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    FileMeta,
    Listing,
    Role,
    Root,
    Signature,
    Targets,
    describe,
    open_envelope,
    read_root,
    read_targets,
    seal,
)
from rundlet.trust.proofs import Proofs
from rundlet.trust.trusted_set import TrustedSet
from rundlet.trust.updater import Request, every_role, update

NOW = datetime(2026, 11, 23, tzinfo=UTC)
YEAR = timedelta(days=365)
GUN = "registry.example/team/app"


def manifest(text: str) -> FileMeta:
    """What a signature says of an image's manifest."""
    return FileMeta({"sha256": hashlib.sha256(text.encode()).digest()}, len(text))


def sign(signed: Mapping[str, Any], *keys: tuple[str, PrivateKey]) -> bytes:
    """A file with the signatures of ``keys``, each with the ID that it goes under."""
    payload = canonical.encode(signed)
    return seal(signed, [Signature(name, *key.sign(payload)) for name, key in keys])


class Repository:
    """All versions of one repository's metadata, and the private keys of every role."""

    def __init__(self, gun: str = GUN) -> None:
        self.gun = gun
        self.now = NOW
        self.private = {role: generate(role) for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
        self.certificates = {ROOT: certificate_key(self.private[ROOT], gun, NOW)}
        self.served: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.proofs: Proofs | None = None
        """What the client remembers of good signatures, if it remembers."""
        self.answer: Callable[[Request], bytes | None] = self._serve
        public = {ROOT: self.certificates[ROOT]} | {
            role: self.private[role].public for role in (TARGETS, SNAPSHOT, TIMESTAMP)
        }
        roles = {role: Role((key.id,), 1) for role, key in public.items()}
        self.root = Root(0, NOW + 10 * YEAR, {key.id: key for key in public.values()}, roles)
        self.targets = {TARGETS: Targets(0, NOW + 3 * YEAR)}
        self.signers: dict[str, list[PrivateKey]] = {TARGETS: [self.private[TARGETS]]}
        self.versions = {SNAPSHOT: 0, TIMESTAMP: 0}
        self.publish_root()
        self.put("v1", manifest("one"))
        self.publish()

    # ── the owner's moves ────────────────────────────────────────────────────────────────────────────────────

    def publish_root(self, *extra: tuple[str, PrivateKey], **changes: Any) -> bytes:
        """The next root with ``changes``, signed by the root key and by ``extra``."""
        self.root = self.root.replaced(version=self.root.version + 1, **changes)
        data = sign(self.root.encode(), (self.certificates[ROOT].id, self.private[ROOT]), *extra)
        self.served[ROOT] = self.served[f"{self.root.version}.{ROOT}"] = data
        return data

    def rotate(self, role: str) -> PrivateKey:
        """A new key for ``role`` in a new root. Returns the old one."""
        old, self.private[role] = self.private[role], generate(role)
        keys = {name: key for name, key in self.root.keys.items() if name not in self.root.roles[role].key_ids}
        extra: list[tuple[str, PrivateKey]] = []
        if role == ROOT:
            extra = [(self.certificates[ROOT].id, old)]
            self.certificates[ROOT] = certificate_key(self.private[ROOT], self.gun, self.now)
            public = self.certificates[ROOT]
        else:
            public = self.private[role].public
        if role == TARGETS:
            self.signers[TARGETS] = [self.private[TARGETS]]
        roles = {**self.root.roles, role: Role((public.id,), 1)}
        self.publish_root(*extra, keys={**keys, public.id: public}, roles=roles)
        return old

    def put(self, name: str, meta: FileMeta, role: str = TARGETS) -> None:
        current = self.targets.setdefault(role, Targets(0, NOW + 3 * YEAR))
        self.change(role, targets={**current.targets, name: meta})

    def change(self, role: str = TARGETS, **changes: Any) -> None:
        current = self.targets[role]
        self.targets[role] = current.replaced(version=current.version + 1, **changes)

    def publish(self, **changes: Any) -> None:
        """All targets files, a new snapshot and a new timestamp."""
        for role, value in self.targets.items():
            self.serve(role, sign(value.encode(), *((key.id, key) for key in self.signers[role])))
        self.publish_snapshot(**changes)

    def serve(self, role: str, data: bytes) -> None:
        self.served[role] = self.served[f"{role}.{hashlib.sha256(data).hexdigest()}"] = data

    def publish_snapshot(self, **changes: Any) -> None:
        """Of what is served, with ``changes`` to its entries (None removes one)."""
        meta = {role: describe(self.served[role]) for role in (ROOT, *self.targets)} | changes
        meta = {role: value for role, value in meta.items() if value is not None}
        self.versions[SNAPSHOT] += 1
        listing = Listing(self.versions[SNAPSHOT], self.now + 3 * YEAR, meta)
        self.serve(SNAPSHOT, sign(listing.encode(SNAPSHOT), (self.private[SNAPSHOT].id, self.private[SNAPSHOT])))
        self.publish_timestamp()

    def publish_timestamp(self, life: timedelta = timedelta(days=14), snapshot: bytes | None = None) -> None:
        self.versions[TIMESTAMP] += 1
        meta = {SNAPSHOT: describe(self.served[SNAPSHOT] if snapshot is None else snapshot)}
        listing = Listing(self.versions[TIMESTAMP], self.now + life, meta)
        key = self.private[TIMESTAMP]
        self.served[TIMESTAMP] = sign(listing.encode(TIMESTAMP), (key.id, key))

    # ── the client ───────────────────────────────────────────────────────────────────────────────────────────

    def _serve(self, request: Request) -> bytes | None:
        return self.served.get(request.name)

    def fetch(
        self,
        cache: Mapping[str, bytes] | None = None,
        *,
        now: datetime | None = None,
        vouched: datetime | None = None,
    ) -> TrustedSet:
        """What a client with ``cache`` believes."""
        if self.proofs is not None:
            self.proofs = Proofs(self.proofs.found)
        exchange = update(self.gun, "trust.example", cache or {}, now or self.now, every_role, vouched, self.proofs)
        request = next(exchange)
        while True:
            self.requests.append(request.name)
            try:
                request = exchange.send(self.answer(request))
            except StopIteration as end:
                trusted: TrustedSet = end.value
                return trusted

    def reread(self) -> None:
        """Take over what an upload made of the served files."""
        self.root = read_root(open_envelope(ROOT, self.served[ROOT]))
        self.targets[TARGETS] = read_targets(open_envelope(TARGETS, self.served[TARGETS]))
