"""What a trust server takes and what it refuses."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from tests.unit.trust.simulator import GUN, NOW, Repository, manifest, sign

from rundlet.trust.errors import TrustError
from rundlet.trust.keys import PrivateKey, generate
from rundlet.trust.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, open_envelope, read_listing
from rundlet.trust.server import SCHEMA, TrustServer
from rundlet.trust.upload import OldVersionError, RefusedError
from rundlet.util.database import IN_MEMORY, Database


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def now_ns(self) -> int:
        return int(self.now.timestamp()) * 10**9

    def monotonic(self) -> float:
        return 0.0


class Owner(Repository):
    """A repository whose snapshot and timestamp keys are the server's."""

    def __init__(self, server: TrustServer) -> None:
        self.keys = {role: server.key(GUN, role) for role in (SNAPSHOT, TIMESTAMP)}
        super().__init__()
        keys = {key.id: key for key in (self.certificates[ROOT], self.private[TARGETS].public, *self.keys.values())}
        roles = {
            **self.root.roles,
            **{role: self.root.roles[role].replaced(key_ids=(key.id,)) for role, key in self.keys.items()},
        }
        self.root = self.root.replaced(version=0)
        self.publish_root(keys=keys, roles=roles)

    def files(self, *roles: str) -> dict[str, bytes]:
        for role, value in self.targets.items():
            self.served[role] = sign(value.encode(), *((key.id, key) for key in self.signers[role]))
        return {role: self.served[role] for role in roles}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[TrustServer]:
    database = Database.open(IN_MEMORY, [SCHEMA])
    yield TrustServer(database, clock)
    database.close()


@pytest.fixture
def owner(server: TrustServer) -> Owner:
    made = Owner(server)
    server.upload(GUN, made.files(ROOT, TARGETS))
    return made


def _client(owner: Owner, server: TrustServer) -> None:
    owner.served = {role: server.current(GUN, role) or b"" for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
    for role in (TARGETS, SNAPSHOT):
        owner.serve(role, owner.served[role])


def test_what_was_uploaded_is_served_with_the_servers_signatures(owner: Owner, server: TrustServer) -> None:
    _client(owner, server)
    assert owner.fetch().find("v1").meta == manifest("one")
    owner.put("v2", manifest("two"))
    server.upload(GUN, owner.files(TARGETS))
    _client(owner, server)
    assert sorted(owner.fetch().released()) == ["v1", "v2"]
    assert server.version(GUN, ROOT, 1) == server.current(GUN, ROOT)
    assert server.version(GUN, ROOT, 2) is None


def test_an_upload_of_nothing_changes_nothing(owner: Owner, server: TrustServer) -> None:
    before = server.current(GUN, TIMESTAMP)
    server.upload(GUN, {})
    assert server.current(GUN, TIMESTAMP) == before


def test_old_versions_are_refused(owner: Owner, server: TrustServer) -> None:
    for roles in ((TARGETS,), (ROOT,), (ROOT, TARGETS)):
        with pytest.raises(OldVersionError):
            server.upload(GUN, owner.files(*roles))


def _stranger(owner: Owner) -> dict[str, bytes]:
    owner.put("v2", manifest("evil"))
    owner.signers[TARGETS] = [generate()]
    return owner.files(TARGETS)


def _expired(owner: Owner) -> dict[str, bytes]:
    owner.change(expires=NOW - timedelta(days=1))
    return owner.files(TARGETS)


def _skipping_root(owner: Owner) -> dict[str, bytes]:
    owner.rotate(TARGETS)
    owner.rotate(TARGETS)
    owner.change()
    return owner.files(ROOT, TARGETS)


def _foreign_root(owner: Owner) -> dict[str, bytes]:
    other = Repository()
    other.publish_root()
    return {ROOT: other.served[ROOT]}


def _lost_timestamp_key(owner: Owner) -> dict[str, bytes]:
    owner.rotate(TIMESTAMP)
    return owner.files(ROOT)


def _root_without_its_targets(owner: Owner) -> dict[str, bytes]:
    owner.rotate(TARGETS)
    return {ROOT: owner.served[ROOT]}


def _undelegated(owner: Owner) -> dict[str, bytes]:
    key = generate()
    owner.targets["targets/evil"] = owner.targets[TARGETS].replaced(version=1)
    owner.signers["targets/evil"] = [key]
    return owner.files("targets/evil")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (_stranger, "ErrBadTargets"),
        (_expired, "ErrBadTargets"),
        (_skipping_root, "ErrBadRoot"),
        (_foreign_root, "ErrBadRoot"),
        (_lost_timestamp_key, "ErrBadRoot"),
        (_root_without_its_targets, "ErrBadTargets"),
        (_undelegated, "ErrBadTargets"),
        (lambda owner: {"../x": b"{}"}, "ErrValidation"),
        (lambda owner: {TIMESTAMP: owner.served[TIMESTAMP]}, "ErrValidation"),
        (lambda owner: {TARGETS: b"{}"}, "ErrBadTargets"),
    ],
)
def test_bad_uploads_leave_everything_as_it_was(
    owner: Owner, server: TrustServer, make: Callable[[Owner], dict[str, bytes]], name: str
) -> None:
    before = {role: server.current(GUN, role) for role in (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)}
    with pytest.raises(RefusedError) as caught:
        server.upload(GUN, make(owner))
    assert caught.value.name == name
    assert {role: server.current(GUN, role) for role in before} == before


def test_a_part_of_a_first_upload(server: TrustServer) -> None:
    made = Owner(server)
    with pytest.raises(RefusedError, match="no root provided"):
        server.upload(GUN, made.files(TARGETS))
    with pytest.raises(RefusedError, match="targets"):
        server.upload(GUN, made.files(ROOT))
    assert server.current(GUN, ROOT) is None


def test_timestamps_are_made_anew_in_time(owner: Owner, server: TrustServer, clock: Clock) -> None:
    def timestamp() -> tuple[int, timedelta]:
        server.refresh(GUN)
        found = read_listing(open_envelope(TIMESTAMP, server.current(GUN, TIMESTAMP) or b""))
        return found.version, found.expires - clock.now

    assert timestamp() == (1, timedelta(days=14))
    clock.now += timedelta(days=6)
    assert timestamp() == (1, timedelta(days=8))
    clock.now += timedelta(days=2)
    assert timestamp() == (2, timedelta(days=14))
    clock.now += timedelta(days=700)
    version, left = timestamp()
    assert (version, left) == (3, timedelta(days=14))
    _client(owner, server)
    assert owner.fetch(now=clock.now).snapshot.version == 2  # type: ignore[union-attr]


def test_the_servers_keys(server: TrustServer, clock: Clock) -> None:
    first = server.key(GUN, SNAPSHOT)
    assert server.key(GUN, SNAPSHOT) == first
    assert server.key("other.example/x", SNAPSHOT) != first
    clock.now += timedelta(seconds=1)
    assert server.new_key(GUN, SNAPSHOT) != first


def test_only_so_many_keys_wait(server: TrustServer, clock: Clock) -> None:
    for _ in range(30):
        clock.now += timedelta(seconds=1)
        server.new_key(GUN, SNAPSHOT)
    assert len(server._pending(GUN, SNAPSHOT)) <= 9


def test_everything_can_be_deleted(owner: Owner, server: TrustServer) -> None:
    server.delete(GUN)
    assert server.current(GUN, ROOT) is None
    with pytest.raises(TrustError):
        server.upload(GUN, owner.files(ROOT, TARGETS))


def test_a_snapshot_of_the_users(server: TrustServer) -> None:
    """Its key may stay with the user; then the server checks and does not sign."""
    made = Owner(server)
    key: PrivateKey = made.private[SNAPSHOT]
    roles = {**made.root.roles, SNAPSHOT: made.root.roles[SNAPSHOT].replaced(key_ids=(key.id,))}
    made.root = made.root.replaced(version=0)
    made.publish_root(keys={**made.root.keys, key.id: key.public}, roles=roles)
    files = made.files(ROOT, TARGETS)
    with pytest.raises(RefusedError, match="no snapshot was included"):
        server.upload(GUN, files)
    made.publish_snapshot()
    server.upload(GUN, {**files, SNAPSHOT: made.served[SNAPSHOT]})
    assert server.current(GUN, SNAPSHOT) == made.served[SNAPSHOT]
    made.put("v2", manifest("two"))
    files = made.files(TARGETS)
    made.publish_snapshot(targets=manifest("other"))
    with pytest.raises(RefusedError, match="checksum for targets"):
        server.upload(GUN, {**files, SNAPSHOT: made.served[SNAPSHOT]})
