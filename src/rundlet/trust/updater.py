"""What to fetch, in which order, to know what a repository has signed. Still no I/O.

:func:`update` is a generator: it yields a :class:`Request`, and is sent the file's bytes, or None when the server has
no such file. So one piece of code serves the command line (which waits) and the engine (which does not).
"""

from __future__ import annotations

from rundlet.trust.errors import (
    MissingMetadataError,
    NoTrustDataError,
    RotationError,
    ThresholdError,
    TooLargeError,
    TrustError,
)
from rundlet.trust.metadata import (
    RELEASES,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    is_delegation,
    open_envelope,
    read_targets,
    version_of,
)
from rundlet.trust.trusted_set import Floor, TrustedSet, verify_root
from rundlet.util.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from datetime import datetime
    from typing import Final

    from rundlet.trust.metadata import FileMeta
    from rundlet.trust.proofs import Proofs

    Exchange = Generator["Request", bytes | None, TrustedSet]

ROOT_LIMIT: Final = 1 << 20
TIMESTAMP_LIMIT: Final = 1 << 20
FILE_LIMIT: Final = 32 << 20
ROOTS_AT_ONCE: Final = 1000
"""More new roots than these are no rotation but an attempt to keep a client busy."""


class Request(Record):
    """One file, ``name`` without ``.json``; reading more than ``limit`` bytes of it is pointless.

    ``next`` is what is asked for after it when the server hasn't got it: who likes may send both requests at once.
    """

    name: str
    limit: int
    next: Request | None = None


_TIMESTAMP: Final = Request(TIMESTAMP, TIMESTAMP_LIMIT)


def only_releases(role: str) -> bool:
    """The roles that a pull needs."""
    return role == RELEASES


def every_role(_role: str) -> bool:
    return True


def update(
    gun: str,
    server: str,
    cache: Mapping[str, bytes],
    now: datetime,
    wanted: Callable[[str], bool] = every_role,
    vouched: datetime | None = None,
    proofs: Proofs | None = None,
) -> Exchange:
    """The trusted metadata of ``gun`` now. ``cache`` holds what was trusted last time, by role; ``wanted`` chooses
    delegations; ``vouched`` is what :meth:`TrustedSet.vouched_until` said of the cached root, ``proofs`` which
    signatures were good last time. Raises TrustError."""
    known = cache.get(ROOT)
    if known is None:
        first = yield Request(ROOT, ROOT_LIMIT)
        if first is None:
            raise NoTrustDataError(server, gun)
        trusted = TrustedSet(gun, _checked(ROOT, first, ROOT_LIMIT), now, known=False, floors={}, proofs=proofs)
    else:
        trusted = TrustedSet(gun, known, now, known=True, floors=_floors(cache), vouched=vouched, proofs=proofs)
        yield from _newer_roots(trusted)
    trusted.finish_root()
    data = yield _TIMESTAMP
    if data is None:
        # A server that has nothing at all never had, or has no more, what was trusted last time.
        if known is None or (yield Request(ROOT, ROOT_LIMIT)) is None:
            raise NoTrustDataError(server, gun)
        raise MissingMetadataError(TIMESTAMP)
    try:
        trusted.update_timestamp(_checked(TIMESTAMP, data, TIMESTAMP_LIMIT))
        assert trusted.timestamp is not None
        trusted.update_snapshot((yield from _file(SNAPSHOT, trusted.timestamp.meta[SNAPSHOT], cache)))
        yield from _targets(trusted, cache, wanted)
    except ThresholdError:
        yield from _doubt(trusted)
        raise
    return trusted


def _doubt(trusted: TrustedSet) -> Generator[Request, bytes | None, None]:
    """The keys are not those of the known root: say so if the server's own root is one that it does not vouch for.

    Raises RootError, RotationError, MalformedError."""
    data = yield Request(ROOT, ROOT_LIMIT)
    if data is not None:
        verify_root(trusted.gun, open_envelope(ROOT, _checked(ROOT, data, ROOT_LIMIT)), trusted.root, None)


def _newer_roots(trusted: TrustedSet) -> Generator[Request, bytes | None, None]:
    for _ in range(ROOTS_AT_ONCE):
        name = f"{trusted.root.version + 1}.{ROOT}"
        data = yield Request(name, ROOT_LIMIT, _TIMESTAMP)  # nearly always there is none
        if data is None:
            return
        trusted.update_root(_checked(name, data, ROOT_LIMIT))
    raise RotationError(f"more than {ROOTS_AT_ONCE} new roots")


def _targets(
    trusted: TrustedSet, cache: Mapping[str, bytes], wanted: Callable[[str], bool]
) -> Generator[Request, bytes | None, None]:
    """``targets`` and the delegations below it, parents first."""
    waiting = [TARGETS]
    while waiting:
        role = waiting.pop(0)
        meta = trusted.announced(role)
        if meta is None:
            if role == TARGETS:
                raise MissingMetadataError(role)
            lost = trusted.missing(role)
            if lost is not None:
                trusted.refuse(role, lost)
            continue  # nobody has signed anything in this role yet
        try:
            trusted.update_targets(role, (yield from _file(role, meta, cache)))
        except TrustError as exc:
            if role == TARGETS:
                raise
            trusted.refuse(role, exc)
            continue
        waiting += [item.name for item in trusted.targets[role].delegations if wanted(item.name)]


def _file(role: str, meta: FileMeta, cache: Mapping[str, bytes]) -> Generator[Request, bytes | None, bytes]:
    """The file that ``meta`` describes: the one of last time when that is it."""
    kept = cache.get(role)
    if kept is not None:
        try:
            meta.check(role, kept)
        except TrustError:
            pass
        else:
            return kept
    if meta.length > FILE_LIMIT:
        raise TooLargeError(role, FILE_LIMIT)
    digest = meta.hashes.get("sha256")
    name = f"{role}.{digest.hex()}" if digest else role
    data = yield Request(name, meta.length)
    if data is None:
        raise MissingMetadataError(role)
    return _checked(role, data, meta.length)


def _checked(name: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise TooLargeError(name, limit)
    return data


def _floors(cache: Mapping[str, bytes]) -> dict[str, Floor]:
    """The versions of last time; what can't be read any more sets no floor."""
    floors: dict[str, Floor] = {}
    keys: dict[str, frozenset[str]] = {}
    for role in sorted(set(cache) - {ROOT}):  # parents come before what they delegate to
        try:
            envelope = open_envelope(role, cache[role])
            floors[role] = Floor(version_of(envelope), keys.get(role, frozenset()))
            if role == TARGETS or is_delegation(role):
                keys |= {item.name: frozenset(item.key_ids) for item in read_targets(envelope).delegations}
        except TrustError:
            continue
    return floors
