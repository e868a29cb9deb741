"""What a trust server, or whoever stole some of its keys, can try. Names as in the TUF specification, section 1.5.2."""

from datetime import timedelta

import pytest
from tests.unit.trust.simulator import NOW, YEAR, Repository, manifest, sign

from rundlet.trust.certificates import certificate_key
from rundlet.trust.errors import (
    ChecksumError,
    ExpiredError,
    LowVersionError,
    MalformedError,
    MissingMetadataError,
    NoSuchTargetError,
    NoTrustDataError,
    RootError,
    RotationError,
    ThresholdError,
    TooLargeError,
)
from rundlet.trust.keys import PrivateKey, generate
from rundlet.trust.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, Delegation, Role
from rundlet.trust.proofs import Proofs
from rundlet.trust.updater import TIMESTAMP_LIMIT, Request

LATER = timedelta(days=1)


@pytest.fixture(params=[False, True], ids=["", "remembering"])
def repository(request: pytest.FixtureRequest) -> Repository:
    """Its client takes every signature for new, or remembers those that were good."""
    made = Repository()
    made.proofs = Proofs() if request.param else None
    return made


def test_an_honest_server_is_believed_at_first_and_again(repository: Repository) -> None:
    first = repository.fetch()
    assert first.find("v1").meta == manifest("one")
    repository.put("v2", manifest("two"))
    repository.publish()
    again = repository.fetch(first.files())
    assert sorted(again.released()) == ["v1", "v2"]
    assert repository.requests[-4:] == [
        "2.root",
        "timestamp",
        *(name for name in repository.requests[-2:] if name.startswith(("snapshot.", "targets."))),
    ]


def test_unchanged_metadata_are_not_fetched_again(repository: Repository) -> None:
    files = repository.fetch().files()
    repository.requests.clear()
    repository.fetch(files)
    assert repository.requests == ["2.root", "timestamp"]


# ── arbitrary metadata ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", [TIMESTAMP, SNAPSHOT, TARGETS])
def test_metadata_signed_by_someone_else_are_refused(repository: Repository, role: str) -> None:
    stranger = generate()
    repository.private[role] = stranger
    repository.signers[TARGETS] = [repository.private[TARGETS]]
    repository.publish()
    with pytest.raises(ThresholdError) as caught:
        repository.fetch()
    assert caught.value.role == role
    assert "malicious" in caught.value.explain("x")


def test_a_stranger_cannot_sign_under_the_name_of_the_key(repository: Repository) -> None:
    """The key ID in a signature is a claim."""
    real = repository.private[TARGETS].id
    data = sign(repository.targets[TARGETS].encode(), (real, generate()))
    repository.serve(TARGETS, data)
    repository.publish_snapshot()
    with pytest.raises(ThresholdError):
        repository.fetch()


def test_a_root_for_another_repository_is_refused(repository: Repository) -> None:
    other = Repository("registry.example/other")
    with pytest.raises(RootError):
        repository.answer = other._serve
        repository.fetch()


def test_a_server_with_a_root_of_its_own_is_told_as_that(repository: Repository) -> None:
    files = repository.fetch().files()
    repository.answer = Repository(repository.gun)._serve
    with pytest.raises(RotationError, match="could not rotate trust to a new trusted root") as caught:
        repository.fetch(files)
    assert "trust data mismatch" in caught.value.explain("x")


def test_a_root_that_lists_a_key_under_a_false_id_is_refused(repository: Repository) -> None:
    keys = dict(repository.root.keys)
    keys[repository.private[TARGETS].id] = generate().public
    repository.publish_root(keys=keys)
    with pytest.raises(MalformedError, match="key ID"):
        repository.fetch()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b'{"signed":1}', b"\xff", b'{"signed":{},"signed":{}}', b"[" * 100_000]
)
@pytest.mark.parametrize("name", [ROOT, TIMESTAMP])
def test_rubbish_is_refused(repository: Repository, name: str, data: bytes) -> None:
    repository.served[name] = data
    with pytest.raises(MalformedError):
        repository.fetch()


def test_a_root_that_was_vouched_for_needs_no_second_look(repository: Repository) -> None:
    """Until the first of its certificates ends; then everything about it counts again."""
    repository.publish_root(expires=NOW + 20 * YEAR)
    repository.publish()
    first = repository.fetch()
    until = first.vouched_until()
    assert NOW + 9 * YEAR < until < NOW + 11 * YEAR
    assert repository.fetch(first.files(), vouched=until).vouched_until() == until
    repository.now = until + LATER
    repository.publish_snapshot()
    with pytest.raises(RootError):
        repository.fetch(first.files(), vouched=until)
    # A new root is verified whatever was said of the old one.
    repository.now = NOW
    thief = Repository(repository.gun)
    thief.publish_root()
    thief.publish_root()
    repository.served["3.root"] = thief.served["3.root"]
    with pytest.raises(RotationError):
        repository.fetch(first.files(), vouched=until)


# ── rollback ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("known", [True, False])
def test_rollback_of_the_timestamp(repository: Repository, known: bool) -> None:
    """An old, rightly signed state: only who has seen a newer one can tell."""
    old = dict(repository.served)
    repository.put("v1", manifest("repaired"))
    repository.publish()
    cache = repository.fetch().files() if known else {}
    repository.served = old
    if not known:
        assert repository.fetch(cache).find("v1").meta == manifest("one")
        return
    with pytest.raises(LowVersionError, match="version 1 is lower than current version 2"):
        repository.fetch(cache)


def test_rollback_of_targets_under_a_new_snapshot(repository: Repository) -> None:
    """With the keys of snapshot and timestamp alone nobody brings an old tag back."""
    old = repository.served[TARGETS]
    repository.put("v1", manifest("repaired"))
    repository.publish()
    cache = repository.fetch().files()
    repository.serve(TARGETS, old)
    repository.publish_snapshot()
    with pytest.raises(LowVersionError):
        repository.fetch(cache)


def test_rollback_of_the_root(repository: Repository) -> None:
    repository.rotate(TARGETS)
    repository.publish()
    cache = repository.fetch().files()
    first = repository.served["1.root"]
    repository.served["3.root"] = first
    with pytest.raises(LowVersionError):
        repository.fetch(cache)


def test_a_releases_file_cannot_be_dropped_from_the_snapshot(repository: Repository) -> None:
    """Else whoever makes snapshots could let older names in targets count again."""
    key = generate("releases")
    _delegate(repository, "targets/releases", key)
    repository.put("v1", manifest("released"), "targets/releases")
    repository.publish()
    cache = repository.fetch().files()
    repository.publish_snapshot(**{"targets/releases": None})
    with pytest.raises(MissingMetadataError):
        repository.fetch(cache).find("v1")


# ── freeze ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_freeze_by_an_expired_timestamp(repository: Repository) -> None:
    cache = repository.fetch().files()
    with pytest.raises(ExpiredError) as caught:
        repository.fetch(cache, now=NOW + timedelta(days=15))
    assert caught.value.explain("x").startswith("Error: remote repository x out-of-date: timestamp expired at ")


def test_freeze_by_an_expired_root(repository: Repository) -> None:
    repository.publish_root(expires=NOW + LATER)
    repository.publish()
    cache = repository.fetch().files()
    repository.now = NOW + 2 * LATER
    repository.publish_snapshot()
    with pytest.raises(ExpiredError):
        repository.fetch(cache)
    repository.publish_root(expires=NOW + YEAR)
    repository.publish_snapshot()
    assert repository.fetch(cache).find("v1")


def test_expired_targets(repository: Repository) -> None:
    repository.change(expires=NOW - LATER)
    repository.publish()
    with pytest.raises(ExpiredError, match="targets expired"):
        repository.fetch()


def test_a_certificate_of_the_root_that_has_expired(repository: Repository) -> None:
    repository.publish_root(expires=NOW + 20 * YEAR)
    repository.publish()
    cache = repository.fetch().files()
    repository.now = NOW + 11 * YEAR
    repository.publish_snapshot()
    with pytest.raises(RootError, match="leaf certificates"):
        repository.fetch(cache)


def test_a_clock_set_back_does_not_go_unnoticed(repository: Repository) -> None:
    """Before the root's certificate began to be valid."""
    with pytest.raises(RootError):
        repository.fetch(now=NOW - timedelta(days=3))


# ── mix and match ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_snapshot_that_the_timestamp_does_not_name(repository: Repository) -> None:
    old = repository.served[SNAPSHOT]
    repository.put("v2", manifest("two"))
    repository.publish()
    repository.answer = lambda request: (
        old if request.name.startswith("snapshot.") else repository.served.get(request.name)
    )
    with pytest.raises(ChecksumError):
        repository.fetch()


def test_targets_that_the_snapshot_does_not_name(repository: Repository) -> None:
    old = repository.served[TARGETS]
    repository.put("v2", manifest("two"))
    repository.publish()
    repository.answer = lambda request: (
        old if request.name.startswith("targets.") else repository.served.get(request.name)
    )
    with pytest.raises(ChecksumError):
        repository.fetch()


def test_a_snapshot_for_another_root(repository: Repository) -> None:
    """The server keeps a new root back from the client."""
    repository.rotate(TARGETS)
    repository.publish()
    repository.answer = lambda request: (
        repository.served["1.root"] if request.name == ROOT else repository.served.get(request.name)
    )
    with pytest.raises(ChecksumError):
        repository.fetch()


# ── fast-forward ─────────────────────────────────────────────────────────────────────────────────────────────


def test_recovery_from_a_fast_forward_attack(repository: Repository) -> None:
    """Whoever had the server's keys drove the versions up; with new keys the repository begins again from low ones."""
    honest = dict(repository.versions)
    repository.versions = {SNAPSHOT: 2**30, TIMESTAMP: 2**30}
    repository.publish()
    cache = repository.fetch().files()
    repository.versions = honest
    repository.publish()
    with pytest.raises(LowVersionError):
        repository.fetch(cache)
    repository.rotate(SNAPSHOT)
    repository.rotate(TIMESTAMP)
    repository.publish()
    assert repository.fetch(cache).find("v1")


def test_recovery_of_targets_from_a_fast_forward_attack(repository: Repository) -> None:
    low = repository.targets[TARGETS]
    repository.targets[TARGETS] = low.replaced(version=2**30)
    repository.publish()
    cache = repository.fetch().files()
    repository.targets[TARGETS] = low
    repository.rotate(TARGETS)
    repository.publish()
    assert repository.fetch(cache).find("v1")


def test_a_version_beyond_all_counting(repository: Repository) -> None:
    repository.versions[TIMESTAMP] = 2**31
    repository.publish_timestamp()
    with pytest.raises(MalformedError, match="version"):
        repository.fetch()


# ── thresholds ───────────────────────────────────────────────────────────────────────────────────────────────


def _two_of_three(repository: Repository) -> list[tuple[str, object]]:
    keys = [generate(TARGETS) for _ in range(3)]
    listed = {key.id: key.public for key in keys}
    roles = {**repository.root.roles, TARGETS: Role(tuple(listed), 2)}
    repository.publish_root(keys={**repository.root.keys, **listed}, roles=roles)
    repository.signers[TARGETS] = keys
    return [(key.id, key) for key in keys]


@pytest.mark.parametrize(("signers", "good"), [(3, True), (2, True), (1, False)])
def test_a_threshold_of_two(repository: Repository, signers: int, good: bool) -> None:
    _two_of_three(repository)
    repository.signers[TARGETS] = repository.signers[TARGETS][:signers]
    repository.publish()
    if good:
        assert repository.fetch().find("v1")
        return
    with pytest.raises(ThresholdError):
        repository.fetch()


def test_one_signature_twice_counts_once(repository: Repository) -> None:
    _two_of_three(repository)
    repository.signers[TARGETS] = [repository.signers[TARGETS][0]] * 2
    repository.publish()
    with pytest.raises(ThresholdError):
        repository.fetch()


def test_one_key_in_two_certificates_counts_once(repository: Repository) -> None:
    """Certificates of one key have different IDs, and still there is but one holder."""
    private = repository.private[ROOT]
    second = certificate_key(private, repository.gun, NOW)
    names = (repository.certificates[ROOT].id, second.id)
    roles = {**repository.root.roles, ROOT: Role(names, 2)}
    repository.publish_root((second.id, private), keys={**repository.root.keys, second.id: second}, roles=roles)
    repository.publish()
    with pytest.raises(RootError, match="integrity"):
        repository.fetch()


@pytest.mark.parametrize("threshold", [0, -1, 2])
def test_thresholds_that_are_none(repository: Repository, threshold: int) -> None:
    roles = {**repository.root.roles, TARGETS: Role(repository.root.roles[TARGETS].key_ids, threshold)}
    repository.publish_root(roles=roles)
    with pytest.raises(MalformedError, match="threshold"):
        repository.fetch()


# ── compromise and rotation ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("role", [ROOT, TARGETS, SNAPSHOT, TIMESTAMP])
def test_a_rotated_key_signs_nothing_any_more(repository: Repository, role: str) -> None:
    cache = repository.fetch().files()
    stolen = repository.rotate(role)
    repository.publish()
    new = repository.fetch(cache)
    assert new.find("v1")
    if role == ROOT:
        key = certificate_key(stolen, repository.gun, NOW)
        repository.private[ROOT], repository.certificates[ROOT] = stolen, key
        roles = {**repository.root.roles, ROOT: Role((key.id,), 1)}
        repository.publish_root(keys={**repository.root.keys, key.id: key}, roles=roles)
        with pytest.raises(RotationError):
            repository.fetch(new.files())
        return
    repository.private[role] = stolen
    repository.signers[TARGETS] = [repository.private[TARGETS]]
    repository.put("v1", manifest("evil"))
    repository.publish()
    with pytest.raises(ThresholdError):
        repository.fetch(new.files())


def test_many_rotations_are_followed_one_by_one(repository: Repository) -> None:
    cache = repository.fetch().files()
    for _ in range(5):
        repository.rotate(ROOT)
    repository.publish()
    repository.requests.clear()
    assert repository.fetch(cache).root.version == 6
    assert repository.requests[:6] == ["2.root", "3.root", "4.root", "5.root", "6.root", "7.root"]


def test_a_root_that_skips_a_version(repository: Repository) -> None:
    cache = repository.fetch().files()
    repository.rotate(TARGETS)
    repository.rotate(TARGETS)
    repository.served["2.root"] = repository.served["3.root"]
    with pytest.raises(RotationError, match="does not follow"):
        repository.fetch(cache)


def test_a_new_root_that_the_old_one_does_not_vouch_for(repository: Repository) -> None:
    cache = repository.fetch().files()
    thief = Repository(repository.gun)
    thief.publish_root()
    repository.answer = thief._serve
    with pytest.raises(RotationError) as caught:
        repository.fetch(cache)
    assert caught.value.explain("x").startswith("Warning: potential malicious behavior - trust data mismatch")


def test_repository_taken_away(repository: Repository) -> None:
    cache = repository.fetch().files()
    repository.served.clear()
    with pytest.raises(NoTrustDataError):
        repository.fetch(cache)
    with pytest.raises(NoTrustDataError):
        repository.fetch()


# ── endless data ─────────────────────────────────────────────────────────────────────────────────────────────


def test_endless_timestamp(repository: Repository) -> None:
    repository.served[TIMESTAMP] = b" " * (TIMESTAMP_LIMIT + 1)
    with pytest.raises(TooLargeError):
        repository.fetch()


def test_no_more_is_read_than_was_announced(repository: Repository) -> None:
    limits: dict[str, int] = {}

    def serve(request: Request) -> bytes | None:
        limits[request.name.partition(".")[0]] = request.limit
        data = repository.served.get(request.name)
        return data + b" " if data is not None and request.name.startswith("targets.") else data

    repository.answer = serve
    with pytest.raises(TooLargeError, match="targets"):
        repository.fetch()
    assert limits["targets"] == len(repository.served[TARGETS])


def test_an_announced_length_beyond_all_measure(repository: Repository) -> None:
    huge = manifest("x").replaced(length=1 << 40)
    repository.publish_snapshot(targets=huge)
    with pytest.raises(TooLargeError):
        repository.fetch()


def test_roots_without_end(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rundlet.trust.updater.ROOTS_AT_ONCE", 3)
    cache = repository.fetch().files()
    for _ in range(4):
        repository.rotate(TARGETS)
    repository.publish()
    with pytest.raises(RotationError, match="more than 3"):
        repository.fetch(cache)


# ── delegations ──────────────────────────────────────────────────────────────────────────────────────────────


def _delegate(
    repository: Repository, role: str, *keys: PrivateKey, threshold: int = 1, paths: tuple[str, ...] = ("",)
) -> None:
    public = {key.id: key.public for key in keys}
    current = repository.targets[TARGETS]
    others = tuple(item for item in current.delegations if item.name != role)
    repository.change(
        keys={**current.keys, **public}, delegations=(*others, Delegation(role, tuple(public), threshold, paths))
    )
    repository.signers[role] = list(keys)


def test_releases_come_before_targets(repository: Repository) -> None:
    _delegate(repository, "targets/releases", generate())
    repository.put("v1", manifest("released"), "targets/releases")
    repository.publish()
    found = repository.fetch().find("v1")
    assert (found.role, found.meta) == ("targets/releases", manifest("released"))


def test_a_signer_alone_releases_nothing(repository: Repository) -> None:
    _delegate(repository, "targets/alice", generate())
    repository.put("v9", manifest("nine"), "targets/alice")
    repository.publish()
    trusted = repository.fetch()
    assert sorted(trusted.names_in("targets/alice")) == ["v9"]
    with pytest.raises(NoSuchTargetError, match="No valid trust data for v9"):
        trusted.find("v9")


def test_a_delegation_signs_only_for_its_paths(repository: Repository) -> None:
    _delegate(repository, "targets/releases", generate(), paths=("v2",))
    repository.put("v1", manifest("evil"), "targets/releases")
    repository.put("v2.1", manifest("two"), "targets/releases")
    repository.publish()
    trusted = repository.fetch()
    assert trusted.find("v1").meta == manifest("one")
    assert trusted.find("v2.1").meta == manifest("two")


def test_releases_signed_by_a_key_that_was_removed(repository: Repository) -> None:
    """Nothing falls back to what targets says while releases are broken."""
    stolen = generate()
    _delegate(repository, "targets/releases", stolen)
    repository.put("v1", manifest("released"), "targets/releases")
    repository.publish()
    cache = repository.fetch().files()
    _delegate(repository, "targets/releases", generate())
    repository.signers["targets/releases"] = [stolen]
    repository.publish()
    with pytest.raises(ThresholdError):
        repository.fetch(cache).find("v1")


def test_a_broken_signer_does_not_stop_the_others(repository: Repository) -> None:
    _delegate(repository, "targets/alice", generate())
    _delegate(repository, "targets/releases", generate())
    repository.put("v1", manifest("released"), "targets/releases")
    repository.put("v1", manifest("released"), "targets/alice")
    repository.signers["targets/alice"] = [generate()]
    repository.publish()
    trusted = repository.fetch()
    assert trusted.find("v1").role == "targets/releases"
    assert isinstance(trusted.invalid["targets/alice"], ThresholdError)


@pytest.mark.parametrize("name", ["root", "targets", "other", "targets/a/b", "targets/../x", "targets/A", "targets/"])
def test_delegations_to_what_is_no_child(repository: Repository, name: str) -> None:
    _delegate(repository, name, generate())
    del repository.signers[name]
    repository.signers[TARGETS] = [repository.private[TARGETS]]
    repository.publish()
    with pytest.raises(MalformedError, match="delegates"):
        repository.fetch()
