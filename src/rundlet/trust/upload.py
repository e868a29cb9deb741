"""What a trust server accepts, and what it makes of it. No I/O.

An upload is taken as a whole or not at all: each file newer than the stored one and signed as root and parents demand,
with the files that were not uploaded still good beside it. The server adds the snapshot when it holds that key, and
always the timestamp.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple, Protocol

from rundlet.trust.errors import ChecksumError, ExpiredError, TrustError
from rundlet.trust.keys import PrivateKey
from rundlet.trust.metadata import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    FileMeta,
    Listing,
    Root,
    Signature,
    Targets,
    describe,
    is_role,
    open_envelope,
    read_listing,
    read_root,
    read_targets,
    seal,
    version_of,
)
from rundlet.trust.trusted_set import verify_root, verify_signatures

SNAPSHOT_LIFE: Final = timedelta(days=3 * 365)
TIMESTAMP_LIFE: Final = timedelta(days=14)


class RefusedError(TrustError):
    """An upload that is not taken. ``name`` is Notary's name of the kind, ``words`` the reason."""

    reason = "trust-upload-refused"

    def __init__(self, name: str, words: str) -> None:
        super().__init__(words)
        self.name = name
        self.words = words


class OldVersionError(TrustError):
    """Somebody else was quicker, or an old file is sent again."""

    reason = "trust-upload-old"

    def __init__(self, role: str, current: int) -> None:
        super().__init__(f"{role}: a version newer than {current} is needed")


class Keys(Protocol):
    """The private keys that the server holds for a repository."""

    def find(self, key_id: str) -> PrivateKey | None: ...


class State(NamedTuple):
    """The newest files of one repository, by role."""

    gun: str
    files: Mapping[str, bytes]


def accept(state: State, updates: Mapping[str, bytes], keys: Keys, now: datetime) -> dict[str, bytes]:
    """The files to store: those uploaded and those that the server makes. Raises RefusedError, OldVersionError."""
    unknown = [role for role in updates if not is_role(role)]
    if unknown:
        raise RefusedError("ErrValidation", f"no such role: {', '.join(unknown)}")
    if not updates and ROOT in state.files:
        return {}  # Docker publishes also when it has found nothing to change
    if TIMESTAMP in updates:
        raise RefusedError("ErrValidation", "the timestamp is made by the server")
    root = _root(state, updates.get(ROOT), keys, now)
    files = {**state.files, **updates}
    _targets(state, files, updates, root, now)
    made = dict(updates)
    made[SNAPSHOT] = _snapshot(state, files, updates.get(SNAPSHOT), root, keys, now)
    made[TIMESTAMP] = _timestamp(state, made[SNAPSHOT], root, keys, now)
    return made


def renew(state: State, keys: Keys, now: datetime) -> dict[str, bytes]:
    """New snapshot and timestamp where the stored ones are past half of their time and the keys are here."""
    root = read_root(open_envelope(ROOT, state.files[ROOT]))
    made: dict[str, bytes] = {}
    snapshot = state.files[SNAPSHOT]
    if _old(SNAPSHOT, snapshot, SNAPSHOT_LIFE, now) and _held(root, SNAPSHOT, keys):
        found = read_listing(open_envelope(SNAPSHOT, snapshot))
        listing = found.replaced(version=found.version + 1, expires=now + SNAPSHOT_LIFE)
        snapshot = made[SNAPSHOT] = _sign(SNAPSHOT, listing, root, keys)
    if SNAPSHOT in made or _old(TIMESTAMP, state.files[TIMESTAMP], TIMESTAMP_LIFE, now):
        made[TIMESTAMP] = _timestamp(state, snapshot, root, keys, now)
    return made


def _old(role: str, data: bytes, life: timedelta, now: datetime) -> bool:
    return read_listing(open_envelope(role, data)).expires - now < life / 2


def _held(root: Root, role: str, keys: Keys) -> list[PrivateKey]:
    found = [keys.find(name) for name in root.roles[role].key_ids]
    return [key for key in found if key is not None]


# ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────


def _root(state: State, data: bytes | None, keys: Keys, now: datetime) -> Root:
    stored = state.files.get(ROOT)
    previous = read_root(open_envelope(ROOT, stored)) if stored is not None else None
    if data is None:
        if previous is None:
            raise RefusedError("ErrValidation", "no pre-existing root and no root provided in update.")
        return previous
    try:
        root = verify_root(state.gun, open_envelope(ROOT, data), previous, now)
        if root.expires <= now:
            raise ExpiredError(ROOT, root.expires)
    except TrustError as exc:
        raise RefusedError("ErrBadRoot", str(exc)) from exc
    if previous is not None and root.version <= previous.version:
        raise OldVersionError(ROOT, previous.version)
    allowed = (1, 2) if previous is None else (previous.version + 1,)
    if root.version not in allowed:
        current = previous.version if previous else 1
        words = f"Root modifications must increment the version. Current {current}, new {root.version}"
        raise RefusedError("ErrBadRoot", words)
    if not _held(root, TIMESTAMP, keys):
        raise RefusedError("ErrBadRoot", "no  timestamp keys exist on the server")
    return root


def _targets(state: State, files: Mapping[str, bytes], updates: Mapping[str, bytes], root: Root, now: datetime) -> None:
    """Every uploaded role below its parents; ``targets`` itself always, for a new root may have changed its keys."""
    if TARGETS not in files:
        raise RefusedError("ErrBadHierarchy", "targets: no targets were provided and none are stored")
    good: dict[str, Targets] = {}
    uploaded = [role for role in updates if role == TARGETS or role.startswith(f"{TARGETS}/")]
    for role in sorted({TARGETS, *uploaded}, key=lambda name: (name.count("/"), name)):
        try:
            good[role] = _one_targets(role, files, root, good)
            if role in updates and good[role].expires <= now:
                raise ExpiredError(role, good[role].expires)
        except TrustError as exc:
            raise RefusedError("ErrBadTargets", str(exc)) from exc
        if role in updates:
            _check_newer(state, role, good[role].version)


def _one_targets(role: str, files: Mapping[str, bytes], root: Root, good: dict[str, Targets]) -> Targets:
    """Verified up to the root. Raises TrustError."""
    if role in good:
        return good[role]
    data = files.get(role)
    if data is None:
        raise RefusedError("ErrBadTargets", f"{role} must be loaded first")
    envelope = open_envelope(role, data)
    if role == TARGETS:
        keys, threshold = root.keys_of(TARGETS), root.roles[TARGETS].threshold
    else:
        parent = _one_targets(role.rpartition("/")[0], files, root, good)
        delegation = next((item for item in parent.delegations if item.name == role), None)
        if delegation is None:
            raise RefusedError("ErrBadTargets", f"{role} is not a delegation of its parent")
        keys = {name: parent.keys[name] for name in delegation.key_ids if name in parent.keys}
        threshold = delegation.threshold
    verify_signatures(envelope, keys, threshold)
    good[role] = read_targets(envelope)
    return good[role]


def _check_newer(state: State, role: str, version: int) -> None:
    stored = state.files.get(role)
    if stored is not None:
        current = version_of(open_envelope(role, stored))
        if version <= current:
            raise OldVersionError(role, current)


# ── what the server makes ────────────────────────────────────────────────────────────────────────────────────


def _snapshot(
    state: State, files: Mapping[str, bytes], data: bytes | None, root: Root, keys: Keys, now: datetime
) -> bytes:
    meta = _current(files)
    if data is not None:
        try:
            return _uploaded_snapshot(state, data, root, meta, now)
        except OldVersionError:
            raise
        except TrustError as exc:
            raise RefusedError("ErrBadSnapshot", str(exc)) from exc
    if not _held(root, SNAPSHOT, keys):
        words = "no snapshot was included in update and server does not hold current snapshot key for repository"
        raise RefusedError("ErrBadHierarchy", words)
    return _sign(SNAPSHOT, Listing(_next(state, SNAPSHOT), now + SNAPSHOT_LIFE, meta), root, keys)


def _uploaded_snapshot(state: State, data: bytes, root: Root, meta: Mapping[str, FileMeta], now: datetime) -> bytes:
    envelope = open_envelope(SNAPSHOT, data)
    verify_signatures(envelope, root.keys_of(SNAPSHOT), root.roles[SNAPSHOT].threshold)
    found = read_listing(envelope)
    if found.expires <= now:
        raise ExpiredError(SNAPSHOT, found.expires)
    for role, expected in meta.items():
        listed = found.meta.get(role)
        if listed is None or listed.hashes.get("sha256") != expected.hashes["sha256"]:
            raise ChecksumError(role, expected.hashes["sha256"].hex())
    _check_newer(state, SNAPSHOT, found.version)
    return data


def _current(files: Mapping[str, bytes]) -> dict[str, FileMeta]:
    """Root, targets, and every delegation that somebody has signed and that its parent still has."""
    meta = {ROOT: describe(files[ROOT])}
    waiting = [TARGETS]
    while waiting:
        role = waiting.pop()
        if role in files:
            meta[role] = describe(files[role])
            waiting += [item.name for item in read_targets(open_envelope(role, files[role])).delegations]
    return meta


def _timestamp(state: State, snapshot: bytes, root: Root, keys: Keys, now: datetime) -> bytes:
    listing = Listing(_next(state, TIMESTAMP), now + TIMESTAMP_LIFE, {SNAPSHOT: describe(snapshot)})
    return _sign(TIMESTAMP, listing, root, keys)


def _next(state: State, role: str) -> int:
    stored = state.files.get(role)
    return version_of(open_envelope(role, stored)) + 1 if stored is not None else 1


def _sign(role: str, listing: Listing, root: Root, keys: Keys) -> bytes:
    from rundlet.trust import canonical

    signed = listing.encode(role)
    held = _held(root, role, keys)
    if len(held) < root.roles[role].threshold:
        raise RefusedError("ErrValidation", f"the server holds too few keys of {role}")
    payload = canonical.encode(signed)
    return seal(signed, [Signature(key.id, *key.sign(payload)) for key in held])
