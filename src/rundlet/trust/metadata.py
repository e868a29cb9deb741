"""Notary's metadata: root, targets (and delegations), snapshot, timestamp. Bytes to values and back; no trust yet.

See: Notary v1, "TUF metadata"; TUF specification 0.9, section 4.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import UTC, datetime

from rundlet.trust import canonical
from rundlet.trust.errors import ChecksumError, MalformedError
from rundlet.trust.keys import decode_public
from rundlet.util.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from rundlet.trust.keys import PublicKey

ROOT: Final = "root"
TARGETS: Final = "targets"
SNAPSHOT: Final = "snapshot"
TIMESTAMP: Final = "timestamp"
RELEASES: Final = "targets/releases"
TOP_LEVEL: Final = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
DELEGATION_DEPTH: Final = 16
LARGEST_VERSION: Final = 2**31 - 1

_TYPES: Final = {ROOT: "Root", TARGETS: "Targets", SNAPSHOT: "Snapshot", TIMESTAMP: "Timestamp"}
_DELEGATION: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_HASHES: Final = {"sha256": 32, "sha512": 64}


def is_delegation(role: str) -> bool:
    first, *parts = role.split("/")
    if first != TARGETS or not 1 <= len(parts) <= DELEGATION_DEPTH or len(role) > 255:
        return False
    return all(part and _DELEGATION.issuperset(part) for part in parts)


def is_role(role: str) -> bool:
    return role in TOP_LEVEL or is_delegation(role)


class Signature(Record):
    key_id: str
    method: str
    value: bytes


class Envelope(Record):
    """A file of metadata: what was signed, still to be believed, and the signatures on it."""

    role: str
    data: bytes
    signed: Mapping[str, Any]
    signatures: tuple[Signature, ...]

    @property
    def payload(self) -> bytes:
        """What the signatures are made over."""
        return canonical.encode(self.signed)


class Role(Record):
    """Which keys sign, and how many of them must."""

    key_ids: tuple[str, ...]
    threshold: int


class Delegation(Record):
    """A role below ``targets`` that signs for names beginning with one of ``paths``."""

    name: str
    key_ids: tuple[str, ...]
    threshold: int
    paths: tuple[str, ...]

    def covers(self, target: str) -> bool:
        return any(target.startswith(path) for path in self.paths)


class FileMeta(Record):
    """Hashes (by algorithm, raw) and length (bytes) of a file or of an image's manifest."""

    hashes: Mapping[str, bytes]
    length: int
    custom: Any = None

    def check(self, name: str, data: bytes) -> None:
        """Raises ChecksumError when ``data`` is not that file."""
        for algorithm, expected in self.hashes.items():
            if hashlib.new(algorithm, data).digest() != expected:
                raise ChecksumError(name, expected.hex())
        if len(data) != self.length:
            raise ChecksumError(name, f"{self.length} bytes")

    def encode(self) -> dict[str, Any]:
        hashes = {name: base64.b64encode(value).decode() for name, value in self.hashes.items()}
        out: dict[str, Any] = {"hashes": hashes, "length": self.length}
        return out if self.custom is None else out | {"custom": self.custom}


class Root(Record):
    version: int
    expires: datetime
    keys: Mapping[str, PublicKey]
    roles: Mapping[str, Role]

    def keys_of(self, role: str) -> dict[str, PublicKey]:
        return {name: self.keys[name] for name in self.roles[role].key_ids if name in self.keys}

    def encode(self) -> dict[str, Any]:
        return _common(ROOT, self.version, self.expires) | {
            "consistent_snapshot": False,
            "keys": {name: key.encode() for name, key in self.keys.items()},
            "roles": {
                name: {"keyids": list(role.key_ids), "threshold": role.threshold} for name, role in self.roles.items()
            },
        }


class Targets(Record):
    """``targets`` or a delegation: signed names, and who else may sign names."""

    version: int
    expires: datetime
    targets: Mapping[str, FileMeta] = {}
    keys: Mapping[str, PublicKey] = {}
    delegations: tuple[Delegation, ...] = ()

    def encode(self) -> dict[str, Any]:
        return _common(TARGETS, self.version, self.expires) | {
            "delegations": {
                "keys": {name: key.encode() for name, key in self.keys.items()},
                "roles": [
                    {
                        "keyids": list(role.key_ids),
                        "name": role.name,
                        "paths": list(role.paths),
                        "threshold": role.threshold,
                    }
                    for role in self.delegations
                ],
            },
            "targets": {name: meta.encode() for name, meta in self.targets.items()},
        }


class Listing(Record):
    """Snapshot or timestamp: which files of metadata are the current ones."""

    version: int
    expires: datetime
    meta: Mapping[str, FileMeta]

    def encode(self, role: str) -> dict[str, Any]:
        return _common(role, self.version, self.expires) | {
            "meta": {name: meta.encode() for name, meta in self.meta.items()}
        }


def describe(data: bytes) -> FileMeta:
    """What a snapshot or a timestamp says about a file."""
    return FileMeta({"sha256": hashlib.sha256(data).digest(), "sha512": hashlib.sha512(data).digest()}, len(data))


def seal(signed: Mapping[str, Any], signatures: Iterable[Signature]) -> bytes:
    """A file of metadata."""
    listed = [
        {"keyid": item.key_id, "method": item.method, "sig": base64.b64encode(item.value).decode()}
        for item in signatures
    ]
    # The very bytes that were signed: what is hashed, sent and verified is one text. No space anywhere: Notary's client
    # hashes what it would write itself when it makes a snapshot of its own.
    return b'{"signed":' + canonical.encode(signed) + b',"signatures":' + canonical.encode(listed) + b"}"


def _common(role: str, version: int, expires: datetime) -> dict[str, Any]:
    stamp = expires.astimezone(UTC).replace(tzinfo=None).isoformat()
    if "." in stamp:
        stamp = stamp.rstrip("0")  # as Go writes times, for the same reason as in seal()
    return {"_type": _TYPES[role], "expires": f"{stamp}Z", "version": version}


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────


def open_envelope(role: str, data: bytes) -> Envelope:
    """Raises MalformedError; checks the type and nothing of the rest."""
    document = canonical.decode(data, role)
    if not isinstance(document, dict) or not isinstance(document.get("signed"), dict):
        raise MalformedError(f"{role} is no signed metadata")
    signed = document["signed"]
    wanted = _TYPES[role if role in TOP_LEVEL else TARGETS]
    if signed.get("_type") != wanted:
        raise MalformedError(f"{role} has the type {signed.get('_type')!r}, not {wanted!r}")
    found = document.get("signatures")
    if not isinstance(found, list):
        raise MalformedError(f"{role} has no signatures")
    return Envelope(role, data, signed, tuple(_signature(role, item) for item in found))


def _signature(role: str, item: Any) -> Signature:
    try:
        key_id, method, value = item["keyid"], item["method"], base64.b64decode(item["sig"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as exc:
        raise MalformedError(f"{role} has a signature that can't be read") from exc
    return Signature(str(key_id), str(method).lower(), value)


def read_root(envelope: Envelope) -> Root:
    """Raises MalformedError."""
    signed = envelope.signed
    version, expires = _version_and_expiry(envelope)
    found = _object(signed, "keys", ROOT)
    keys = {name: decode_public(value, f"key {name}") for name, value in found.items()}
    for name, key in keys.items():
        if key.id != name:
            raise MalformedError("key ID is not valid for key content")
    roles = {name: _role(value, f"root: {name}") for name, value in _object(signed, "roles", ROOT).items()}
    for name in TOP_LEVEL:
        if name not in roles:
            raise MalformedError(f"root has no role {name}")
        if len([key for key in roles[name].key_ids if key in keys]) < roles[name].threshold:
            raise MalformedError(f"root: {name}: fewer keys than its threshold")
    return Root(version, expires, keys, roles)


def read_targets(envelope: Envelope) -> Targets:
    """Raises MalformedError."""
    signed, role = envelope.signed, envelope.role
    version, expires = _version_and_expiry(envelope)
    targets = {
        name: _file_meta(value, f"{role}: {name}") for name, value in _object(signed, "targets", role, True).items()
    }
    delegations = _object(signed, "delegations", role, True)
    keys = {
        name: decode_public(value, f"key {name}") for name, value in _object(delegations, "keys", role, True).items()
    }
    for name, key in keys.items():
        if key.id != name:
            raise MalformedError("key ID is not valid for key content")
    listed = delegations.get("roles") or []
    if not isinstance(listed, list):
        raise MalformedError(f"{role}: delegations: roles")
    roles = tuple(_delegation(role, item) for item in listed)
    if len({item.name for item in roles}) != len(roles):
        raise MalformedError(f"{role} delegates to one role twice")
    return Targets(version, expires, targets, keys, roles)


def read_listing(envelope: Envelope) -> Listing:
    """A snapshot or a timestamp. Raises MalformedError."""
    role = envelope.role
    version, expires = _version_and_expiry(envelope)
    meta = {
        name: _file_meta(value, f"{role}: {name}") for name, value in _object(envelope.signed, "meta", role).items()
    }
    for name in (SNAPSHOT,) if role == TIMESTAMP else (ROOT, TARGETS):
        if name not in meta:
            raise MalformedError(f"{role} says nothing of {name}")
    return Listing(version, expires, meta)


def version_of(envelope: Envelope) -> int:
    """Raises MalformedError."""
    return _version_and_expiry(envelope)[0]


def _version_and_expiry(envelope: Envelope) -> tuple[int, datetime]:
    version, text = envelope.signed.get("version"), envelope.signed.get("expires")
    if type(version) is not int or not 1 <= version <= LARGEST_VERSION:
        raise MalformedError(f"{envelope.role} has the version {version!r}")
    try:
        expires = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as exc:
        raise MalformedError(f"{envelope.role} expires at {text!r}") from exc
    if expires.tzinfo is None:
        raise MalformedError(f"{envelope.role} expires at {text!r}")
    return version, expires


def _object(container: Mapping[str, Any], name: str, role: str, optional: bool = False) -> dict[str, Any]:
    value = container.get(name)
    if value is None and optional:
        return {}
    if not isinstance(value, dict):
        raise MalformedError(f"{role} has no {name}")
    return value


def _role(value: Any, what: str) -> Role:
    try:
        key_ids, threshold = value["keyids"], value["threshold"]
    except (KeyError, TypeError) as exc:
        raise MalformedError(f"{what} is no role") from exc
    if type(threshold) is not int or threshold < 1 or not isinstance(key_ids, list):
        raise MalformedError(f"{what}: threshold {threshold!r}")
    # One key named twice is one key.
    return Role(tuple(dict.fromkeys(str(key) for key in key_ids)), threshold)


def _delegation(parent: str, value: Any) -> Delegation:
    role = _role(value, f"{parent}: delegation")
    name, paths = value.get("name"), value.get("paths") or []
    if not isinstance(name, str) or not is_delegation(name) or name.rpartition("/")[0] != parent:
        raise MalformedError(f"{parent} delegates to {name!r}")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise MalformedError(f"{name}: paths")
    return Delegation(name, role.key_ids, role.threshold, tuple(paths))


def _file_meta(value: Any, what: str) -> FileMeta:
    try:
        length, found = value["length"], value["hashes"]
        hashes = {name: base64.b64decode(text, validate=True) for name, text in found.items() if name in _HASHES}
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as exc:
        raise MalformedError(f"{what} has no hashes and length") from exc
    if type(length) is not int or length < 0 or not hashes:
        raise MalformedError(f"{what}: length {length!r}, hashes {sorted(map(str, found))}")
    if any(len(digest) != _HASHES[name] for name, digest in hashes.items()):
        raise MalformedError(f"{what}: a hash of the wrong length")
    return FileMeta(hashes, length, value.get("custom"))
