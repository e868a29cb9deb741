"""New metadata for a repository: a draft is made of what is trusted, changed, and sealed with private keys. No I/O."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from rundlet.trust import canonical
from rundlet.trust.certificates import certificate_key
from rundlet.trust.errors import NoDelegationKeysError, NoSigningKeysError
from rundlet.trust.keys import PrivateKey, PublicKey
from rundlet.trust.metadata import (
    RELEASES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    Delegation,
    FileMeta,
    Listing,
    Role,
    Root,
    Signature,
    Targets,
    describe,
    seal,
)
from rundlet.trust.trusted_set import TrustedSet
from rundlet.trust.upload import SNAPSHOT_LIFE

ROOT_LIFE: Final = timedelta(days=10 * 365)
TARGETS_LIFE: Final = timedelta(days=3 * 365)


class KeySource(Protocol):
    """Private keys by their canonical IDs; ``load`` may ask the user for a passphrase."""

    def has(self, key_id: str) -> bool: ...

    def load(self, key_id: str) -> PrivateKey: ...


class Draft:
    """One change of a repository, made of many."""

    def __init__(
        self,
        root: Root,
        targets: Mapping[str, Targets],
        snapshot: Listing | None,
        now: datetime,
        versions: Mapping[str, int] | None = None,
    ) -> None:
        self._root = root
        self._versions = dict(versions or {})
        self._snapshot = snapshot
        self._now = now
        self._targets = dict(targets)
        self._changed: set[str] = set()
        self._new_root = False

    @classmethod
    def of(cls, trusted: TrustedSet, now: datetime) -> "Draft":
        return cls(trusted.root, trusted.targets, trusted.snapshot, now, trusted.versions)

    @classmethod
    def initial(
        cls, gun: str, root: PrivateKey, targets: PublicKey, snapshot: PublicKey, timestamp: PublicKey, now: datetime
    ) -> "Draft":
        """A repository that has no trust data yet, its snapshot and timestamp keys the server's."""
        keys = {ROOT: certificate_key(root, gun, now), TARGETS: targets, SNAPSHOT: snapshot, TIMESTAMP: timestamp}
        made = Root(
            version=1,
            expires=now + ROOT_LIFE,
            keys={key.id: key for key in keys.values()},
            roles={name: Role((key.id,), 1) for name, key in keys.items()},
        )
        draft = cls(made, {TARGETS: Targets(0, now)}, None, now)
        draft._new_root = True
        draft._changed.add(TARGETS)
        return draft

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────

    def signable(self, name: str, keys: KeySource) -> list[str]:
        """The roles that this user can sign ``name`` in: ``targets`` where there are no signers, else his own.

        Raises NoDelegationKeysError."""
        roles = self.delegations()
        if not roles:
            return [TARGETS]
        found = [
            role.name
            for role in roles
            if role.covers(name) and any(keys.has(self._bare(role.name, key)) for key in role.key_ids)
        ]
        if not found:
            raise NoDelegationKeysError
        return found

    def put(self, role: str, name: str, meta: FileMeta) -> None:
        current = self._role(role)
        self._change(role, current.replaced(targets={**current.targets, name: meta}))

    def remove(self, role: str, name: str) -> None:
        current = self._role(role)
        self._change(
            role, current.replaced(targets={key: meta for key, meta in current.targets.items() if key != name})
        )

    # ── signers ──────────────────────────────────────────────────────────────────────────────────────────────

    def delegations(self) -> tuple[Delegation, ...]:
        return self._role(TARGETS).delegations

    def add_signer(self, name: str, keys: Iterable[PublicKey]) -> None:
        """Let ``keys`` sign as ``targets/name`` and in ``targets/releases``."""
        added = {key.id: key for key in keys}
        current = self._role(TARGETS)
        roles = {role.name: role for role in current.delegations}
        for role in (f"{TARGETS}/{name}", RELEASES):
            before = roles.get(role, Delegation(role, (), 1, ("",)))
            roles[role] = before.replaced(key_ids=tuple(dict.fromkeys((*before.key_ids, *added))))
        self._change(TARGETS, current.replaced(keys={**current.keys, **added}, delegations=tuple(roles.values())))

    def remove_signer(self, name: str) -> None:
        """Take ``targets/name`` away, and its keys from ``targets/releases``."""
        current = self._role(TARGETS)
        gone = f"{TARGETS}/{name}"
        lost = {key for role in current.delegations if role.name == gone for key in role.key_ids}
        roles = []
        for role in current.delegations:
            if role.name == gone:
                continue
            kept = tuple(key for key in role.key_ids if key not in lost) if role.name == RELEASES else role.key_ids
            roles.append(role.replaced(key_ids=kept))
        # A role without keys can sign nothing; Docker drops it.
        roles = [role for role in roles if role.key_ids]
        used = {key for role in roles for key in role.key_ids}
        keys = {key: value for key, value in current.keys.items() if key in used}
        self._change(TARGETS, current.replaced(keys=keys, delegations=tuple(roles)))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self, keys: KeySource) -> dict[str, bytes]:
        """The files to upload, signed. Raises NoSigningKeysError, and what ``keys`` raises."""
        files: dict[str, bytes] = {}
        if self._new_root:
            files[ROOT] = _sealed(ROOT, self._root.encode(), self._root.keys_of(ROOT), 1, keys)
        for role in sorted(self._changed, key=lambda name: (name.count("/"), name)):
            current = self._role(role)
            version = max(current.version, self._versions.get(role, 0)) + 1
            made = current.replaced(version=version, expires=self._now + TARGETS_LIFE)
            public, threshold = self._keys_of(role)
            files[role] = _sealed(role, made.encode(), public, threshold, keys)
        snapshot_keys = self._root.keys_of(SNAPSHOT)
        if all(keys.has(key.canonical_id) for key in snapshot_keys.values()):
            files[SNAPSHOT] = self._own_snapshot(files, snapshot_keys, keys)
        return files

    def _own_snapshot(self, files: Mapping[str, bytes], public: Mapping[str, PublicKey], keys: KeySource) -> bytes:
        """For repositories whose snapshot key is the user's and not the server's."""
        before = self._snapshot
        meta = {**(before.meta if before else {}), **{role: describe(data) for role, data in files.items()}}
        listing = Listing((before.version if before else 0) + 1, self._now + SNAPSHOT_LIFE, meta)
        return _sealed(SNAPSHOT, listing.encode(SNAPSHOT), public, self._root.roles[SNAPSHOT].threshold, keys)

    def _role(self, role: str) -> Targets:
        return self._targets.get(role) or Targets(0, self._now)

    def _change(self, role: str, value: Targets) -> None:
        self._targets[role] = value
        self._changed.add(role)

    def _bare(self, role: str, key_id: str) -> str:
        key = self._role(role.rpartition("/")[0]).keys.get(key_id)
        return key.canonical_id if key is not None else key_id

    def _keys_of(self, role: str) -> tuple[dict[str, PublicKey], int]:
        if role == TARGETS:
            return self._root.keys_of(TARGETS), self._root.roles[TARGETS].threshold
        parent = self._role(role.rpartition("/")[0])
        delegation = next(item for item in parent.delegations if item.name == role)
        return {key: parent.keys[key] for key in delegation.key_ids if key in parent.keys}, delegation.threshold


def _sealed(
    role: str, signed: dict[str, Any], public: Mapping[str, PublicKey], threshold: int, keys: KeySource
) -> bytes:
    payload = canonical.encode(signed)
    signatures = []
    for key_id, key in public.items():
        if keys.has(key.canonical_id):
            method, value = keys.load(key.canonical_id).sign(payload)
            signatures.append(Signature(key_id, method, value))
    if len(signatures) < threshold:
        raise NoSigningKeysError(tuple(key.canonical_id for key in public.values()))
    return seal(signed, signatures)
