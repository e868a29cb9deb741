"""What of a repository's metadata is trusted. No I/O: bytes, a root of trust and the time go in, a verdict comes out.

The state machine, in the order of the TUF client work flow. A step that fails leaves everything as it was:

1. A *root* is there from the start: the one that was trusted last time, or, at the first contact, one whose
   certificates name the repository (trust on first use, over TLS).
2. ``update_root`` takes version N+1 only, signed by the keys of N and by its own. ``finish_root`` ends this: the last
   root must not have expired (freeze).
3. ``update_timestamp``: signed by the root's timestamp key, not older than the last one (rollback), not expired.
4. ``update_snapshot``: the bytes that the timestamp names (mix and match), signed, not older, not expired, and naming
   this very root.
5. ``update_targets``: ``targets`` and delegations, parents first: the bytes that the snapshot names, signed by the keys
   that root or parent give, not older, not expired.

*Floors* are the versions seen last time, each with the keys that signed then. New keys of a role take its floor away:
whoever held the old ones may have run the versions up (fast-forward).
"""

from __future__ import annotations

from rundlet.trust.errors import (
    ExpiredError,
    LowVersionError,
    MalformedError,
    MissingMetadataError,
    NoSuchTargetError,
    RootError,
    RotationError,
    ThresholdError,
    TrustError,
)
from rundlet.trust.metadata import (
    RELEASES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    open_envelope,
    read_listing,
    read_root,
    read_targets,
    version_of,
)
from rundlet.trust.proofs import Proofs
from rundlet.util.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from rundlet.trust.keys import PublicKey
    from rundlet.trust.metadata import Delegation, Envelope, FileMeta, Listing, Root, Targets


class Floor(Record):
    """The least version of a delegation, as long as ``keys`` (IDs) still sign it."""

    version: int
    keys: frozenset[str]


class Signed(Record):
    """One signed name: which manifest it stands for, and who says so."""

    name: str
    meta: FileMeta
    role: str


def verify_signatures(
    envelope: Envelope, keys: Mapping[str, PublicKey], threshold: int, proofs: Proofs | None = None
) -> tuple[str, ...]:
    """The IDs of the keys that signed. Raises ThresholdError when they are fewer than ``threshold``.

    Signatures are counted by the bare key: one key in two certificates, or one signature twice, counts once. ``proofs``
    knows signatures that were verified before.
    """
    payload = envelope.payload
    proofs = proofs or Proofs()
    valid: dict[str, str] = {}
    for signature in envelope.signatures:
        key = keys.get(signature.key_id)
        if key is None or key.id != signature.key_id:
            continue
        if not proofs.verifies(key, payload, signature.method, signature.value):
            continue
        valid.setdefault(key.canonical_id, signature.key_id)
    if threshold < 1 or len(valid) < threshold:
        raise ThresholdError(envelope.role)
    return tuple(valid.values())


def verify_root(gun: str, envelope: Envelope, previous: Root | None, now: datetime | None) -> Root:
    """A root that is good in itself and that ``previous`` vouches for; certificates' times matter unless ``now`` is
    None. Raises RootError, RotationError, MalformedError."""
    from rundlet.trust.certificates import in_force, names_repository

    root = read_root(envelope)
    keys = {name: key for name, key in root.keys_of(ROOT).items() if names_repository(key, gun)}
    if now is not None:
        keys = {name: key for name, key in keys.items() if in_force(key, now)}
    if not keys:
        raise RootError("unable to retrieve valid leaf certificates")
    if previous is not None:
        trusted = {name: key for name, key in previous.keys_of(ROOT).items() if names_repository(key, gun)}
        try:
            verify_signatures(envelope, trusted, previous.roles[ROOT].threshold)
        except ThresholdError as exc:
            raise RotationError("failed to validate data with current trusted certificates") from exc
    try:
        verify_signatures(envelope, keys, root.roles[ROOT].threshold)
    except ThresholdError as exc:
        raise RootError("failed to validate integrity of roots") from exc
    return root


class TrustedSet:
    """See the module. ``floors`` are from the last time, by role."""

    def __init__(
        self,
        gun: str,
        root: bytes,
        now: datetime,
        *,
        known: bool,
        floors: Mapping[str, Floor],
        vouched: datetime | None = None,
        proofs: Proofs | None = None,
    ) -> None:
        """``known``: this root was trusted before, so its certificates may have expired since. ``vouched``: these very
        bytes were, and their certificates end then: neither has to be looked at again.

        Raises RootError, MalformedError."""
        self.gun = gun
        self._now = now
        self._proofs = proofs or Proofs()
        self._floors = dict(floors)
        self._envelopes: dict[str, Envelope] = {ROOT: open_envelope(ROOT, root)}
        self._vouched = vouched if known else None
        if self._vouched is not None:
            self.root = read_root(self._envelopes[ROOT])
        else:
            self.root = verify_root(gun, self._envelopes[ROOT], None, None if known else now)
        self._finished = False
        self.timestamp: Listing | None = None
        self.snapshot: Listing | None = None
        self.targets: dict[str, Targets] = {}
        self.invalid: dict[str, TrustError] = {}
        """Delegations that can't be trusted, and why: they sign for nothing, the others go on."""
        self.versions: dict[str, int] = {}
        """Of all files that the snapshot names, those without good signatures too: a new one needs a higher number."""

    # ── root ─────────────────────────────────────────────────────────────────────────────────────────────────

    def update_root(self, data: bytes) -> None:
        """The next version. Raises TrustError."""
        assert not self._finished
        envelope = open_envelope(ROOT, data)
        new = verify_root(self.gun, envelope, self.root, None)
        if new.version != self.root.version + 1:
            if new.version <= self.root.version:
                raise LowVersionError(ROOT, new.version, self.root.version + 1)
            raise RotationError(f"version {new.version} does not follow version {self.root.version}")
        for role in (TIMESTAMP, SNAPSHOT, TARGETS):
            if set(new.keys_of(role)) != set(self.root.keys_of(role)):
                # Snapshot and timestamp are the server's: what ran up one can have run up the other.
                self._floors.pop(role, None)
                self._floors.pop(TIMESTAMP, None)
        self.root = new
        self._vouched = None
        self._envelopes[ROOT] = envelope

    def finish_root(self) -> None:
        """No newer root is to be had. Raises ExpiredError, RootError."""
        self._check_expiry(ROOT, self.root.expires)
        if self._vouched is None or self._vouched <= self._now:
            verify_root(self.gun, self._envelopes[ROOT], None, self._now)
        self._finished = True

    def vouched_until(self) -> datetime:
        """When the first of the root's certificates ends: until then the root's bytes need no second look."""
        if self._vouched is None:
            from rundlet.trust.certificates import valid_until

            self._vouched = valid_until(list(self.root.keys_of(ROOT).values()))
        return self._vouched

    # ── timestamp and snapshot ───────────────────────────────────────────────────────────────────────────────

    def update_timestamp(self, data: bytes) -> None:
        """Raises TrustError."""
        assert self._finished
        envelope = self._signed_by_root(TIMESTAMP, data)
        found = read_listing(envelope)
        self._check_version(TIMESTAMP, found.version)
        self._check_expiry(TIMESTAMP, found.expires)
        self.timestamp = found
        self._envelopes[TIMESTAMP] = envelope

    def update_snapshot(self, data: bytes) -> None:
        """Raises TrustError."""
        assert self.timestamp is not None
        self.timestamp.meta[SNAPSHOT].check(SNAPSHOT, data)
        envelope = self._signed_by_root(SNAPSHOT, data)
        found = read_listing(envelope)
        self._check_version(SNAPSHOT, found.version)
        self._check_expiry(SNAPSHOT, found.expires)
        found.meta[ROOT].check(ROOT, self._envelopes[ROOT].data)
        self.snapshot = found
        self._envelopes[SNAPSHOT] = envelope

    def _signed_by_root(self, role: str, data: bytes) -> Envelope:
        envelope = open_envelope(role, data)
        verify_signatures(envelope, self.root.keys_of(role), self.root.roles[role].threshold, self._proofs)
        return envelope

    # ── targets and delegations ──────────────────────────────────────────────────────────────────────────────

    def announced(self, role: str) -> FileMeta | None:
        """What the snapshot says about ``role``; None for a delegation that nobody has signed yet."""
        assert self.snapshot is not None
        return self.snapshot.meta.get(role)

    def update_targets(self, role: str, data: bytes) -> None:
        """``targets``, or a delegation whose parent is there. Raises TrustError."""
        meta = self.announced(role)
        if meta is None:
            raise MissingMetadataError(role)
        meta.check(role, data)
        envelope = open_envelope(role, data)
        self.versions[role] = version_of(envelope)
        keys, threshold = self._targets_keys(role)
        verify_signatures(envelope, keys, threshold, self._proofs)
        found = read_targets(envelope)
        self._check_version(role, found.version)
        self._check_expiry(role, found.expires)
        self.targets[role] = found
        self._envelopes[role] = envelope

    def missing(self, role: str) -> TrustError | None:
        """Why a delegation that the snapshot says nothing about is a problem: it did, and its keys are the same."""
        delegation, floor = self.delegation(role), self._floors.get(role)
        if delegation is None or floor is None or floor.keys != frozenset(delegation.key_ids):
            return None
        return MissingMetadataError(role)

    def _targets_keys(self, role: str) -> tuple[dict[str, PublicKey], int]:
        if role == TARGETS:
            return self.root.keys_of(TARGETS), self.root.roles[TARGETS].threshold
        delegation = self.delegation(role)
        if delegation is None:
            raise MalformedError(f"nobody delegates to {role}")
        keys = self.targets[role.rpartition("/")[0]].keys
        return {name: keys[name] for name in delegation.key_ids if name in keys}, delegation.threshold

    def delegation(self, role: str) -> Delegation | None:
        """What its parent says about ``role``."""
        parent = self.targets.get(role.rpartition("/")[0])
        return next((item for item in parent.delegations if item.name == role), None) if parent else None

    def refuse(self, role: str, error: TrustError) -> None:
        """A delegation that failed: it signs for nothing."""
        assert role != TARGETS
        self.invalid[role] = error

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────

    def files(self) -> dict[str, bytes]:
        """All trusted metadata, by role: what is kept for the next time."""
        return {role: envelope.data for role, envelope in self._envelopes.items()}

    def signers_of(self, role: str) -> tuple[str, ...]:
        """IDs of the keys whose signatures stand on ``role``."""
        envelope = self._envelopes.get(role)
        return tuple(item.key_id for item in envelope.signatures) if envelope else ()

    def names_in(self, role: str) -> dict[str, Signed]:
        """The names that ``role`` signs and may sign for."""
        found = self.targets.get(role)
        if found is None:
            return {}
        return {name: Signed(name, meta, role) for name, meta in found.targets.items() if self._may_sign(role, name)}

    def _may_sign(self, role: str, name: str) -> bool:
        while role != TARGETS:
            delegation = self.delegation(role)
            if delegation is None or not delegation.covers(name):
                return False
            role = role.rpartition("/")[0]
        return True

    def released(self) -> dict[str, Signed]:
        """The names that count for a pull: those of ``targets/releases``, else those of ``targets``."""
        return self.names_in(TARGETS) | self.names_in(RELEASES)

    def find(self, name: str) -> Signed:
        """The released ``name``. Raises NoSuchTargetError, or why the releases can't be trusted."""
        found = self.released().get(name)
        if RELEASES in self.invalid and (found is None or found.role != RELEASES):
            raise self.invalid[RELEASES]
        if found is None:
            raise NoSuchTargetError(name)
        return found

    def _check_version(self, role: str, version: int) -> None:
        floor = self._floors.get(role)
        delegation = self.delegation(role)
        if floor is None or (delegation is not None and floor.keys != frozenset(delegation.key_ids)):
            return
        if version < floor.version:
            raise LowVersionError(role, version, floor.version)

    def _check_expiry(self, role: str, expires: datetime) -> None:
        if expires <= self._now:
            raise ExpiredError(role, expires)
