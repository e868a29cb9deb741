"""Ranges of users: who gets which, and what is refused."""

import pytest

from rundlet.api.container_config import HostConfig
from rundlet.container.record import Record, UserMap
from rundlet.engine.containers import usermaps
from rundlet.engine.containers.usermaps import NoRangeError, UserMaps
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.linux import subids

AUTO = HostConfig(userns_mode="auto")


def pool(subuid: str = "", subgid: str | None = None, **options: object) -> UserMaps:
    tables = {subids.SUBUID: subuid, subids.SUBGID: subuid if subgid is None else subgid}
    records: list[Record] = []
    return UserMaps(lambda: records, "0badcafe", read=lambda path: subids.parse(tables[path]), **options)  # type: ignore[arg-type]


def begins(found: UserMap | None) -> tuple[int, int]:
    assert found is not None
    return found.users[0][1], found.groups[0][1]


def test_ranges_come_from_the_tables_one_after_the_other() -> None:
    maps = pool("rundlet:100000:131072\nalice:500000:65536\n", "rundlet:200000:131072\n")
    assert begins(maps.reserve("a", AUTO)) == (100000, 200000)
    assert begins(maps.reserve("b", AUTO)) == (165536, 265536)
    with pytest.raises(NoRangeError, match="no range of 65536 users is left"):
        maps.reserve("c", AUTO)
    maps.release("a")
    assert begins(maps.reserve("c", HostConfig(userns_mode="auto:size=1000"))) == (100000, 200000)
    assert begins(maps.reserve("d", HostConfig(userns_mode="auto:size=64536"))) == (101000, 201000)


def test_podmans_ranges_serve_where_we_have_none_and_else_the_default_pool() -> None:
    assert begins(pool("containers:700000:65536\n").reserve("a", AUTO)) == (700000, 700000)
    # Of users only: both are needed.
    for table in (pool(), pool("rundlet:100000:65536\n", "")):
        begin, same = begins(table.reserve("a", AUTO))
        assert begin == same
        assert usermaps.DEFAULT_POOL.start <= begin < usermaps.DEFAULT_POOL.end - 65536


def test_the_default_pool_is_used_to_its_end() -> None:
    maps = pool()
    most = usermaps.DEFAULT_POOL.length // usermaps.MOST
    begun = {
        begins(maps.reserve(str(number), HostConfig(userns_mode="auto:size=16777216")))[0] for number in range(most - 1)
    }
    assert len(begun) == most - 1
    ends = [begin + usermaps.MOST for begin in begun]
    assert max(ends) <= usermaps.DEFAULT_POOL.end


def test_the_default_and_the_way_back() -> None:
    maps = pool(default="auto")
    assert maps.mode(HostConfig()).userns_mode == "auto"
    assert maps.mode(HostConfig(userns_mode="host")).userns_mode == "host"
    assert maps.reserve("a", HostConfig(userns_mode="host")) is None
    assert pool().reserve("a", HostConfig()) is None


def test_docker_s_remapping_is_one_range_for_all() -> None:
    tables = {subids.SUBUID: "dockremap:10:5\ndockremap:100:7\nu:1:2\n", subids.SUBGID: "dockremap:20:12\ng:3:4\n"}
    shared = usermaps.shared_by("default", lambda path: subids.parse(tables[path]))
    assert shared == UserMap(users=[(0, 10, 5), (5, 100, 7)], groups=[(0, 20, 12)])
    assert usermaps.shared_by("u:g", lambda path: subids.parse(tables[path])).groups == [(0, 3, 4)]
    maps = pool(shared=shared)
    assert maps.reserve("a", HostConfig()) == maps.reserve("b", HostConfig()) == shared
    assert maps.mode(HostConfig()).userns_mode == ""
    with pytest.raises(ValueError, match=r"/etc/subgid has no range for u \(add one: usermod --add-subgids\)"):
        usermaps.shared_by("u", lambda path: subids.parse(tables[path]))


@pytest.mark.parametrize("mode", ["auto:size=0", "auto:size=99999999", "nobody", "auto ", "AUTO"])
def test_bad_modes(mode: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid userns mode"):
        usermaps.check(mode)


@pytest.mark.parametrize("mode", ["keep-id", "ns:/proc/1/ns/user", "container:x", "auto:uidmapping=0:1:2", "nomap"])
def test_modes_of_podmans(mode: str) -> None:
    with pytest.raises(NotSupportedError):
        usermaps.check(mode)


def test_a_kernel_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usermaps, "_kernel", lambda: (5, 18))
    with pytest.raises(NotSupportedError, match=r"before Linux 5\.19"):
        pool().reserve("a", AUTO)
