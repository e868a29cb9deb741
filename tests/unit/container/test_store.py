"""The container store: lookups, names, and what a cut creation or removal leaves."""

import os
from pathlib import Path

import msgspec
import pytest

from rundlet.container import names
from rundlet.container import record as records
from rundlet.container.errors import AmbiguousIDError, InvalidNameError, NameInUseError
from rundlet.container.record import NewerRecordError, Record
from rundlet.container.state import TRANSITIONS, Status, TransitionError, check
from rundlet.container.store import ContainerStore
from rundlet.errors import NoSuchContainerError
from rundlet.util.layout import Layout

EMPTY = msgspec.Raw(b"{}")


def make(container_id: str, name: str) -> Record:
    return Record(
        id=container_id,
        name=name,
        created_ns=1,
        image="busybox",
        image_id="sha256:" + "0" * 64,
        config=EMPTY,
        host_config=EMPTY,
    )


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "root" / "containers").mkdir(parents=True)
    return Layout(str(tmp_path / "root"), str(tmp_path / "run"))


def filled(layout: Layout) -> ContainerStore:
    store = ContainerStore(layout)
    for container_id, name in (("ab" * 32, "one"), ("ac" * 32, "two"), ("bd" * 32, "ab")):
        store.reserve(name, container_id)
        store.add(make(container_id, name))
    return store


def test_find_by_id_name_and_prefix(layout: Layout) -> None:
    store = filled(layout)
    assert store.find("ab" * 32).name == "one"
    assert store.find("/two").name == "two"
    assert store.find("ac").name == "two"
    # A name wins over an ID's prefix.
    assert store.find("ab").name == "ab"
    with pytest.raises(AmbiguousIDError, match="multiple IDs found with provided prefix: a"):
        store.find("a")
    with pytest.raises(NoSuchContainerError, match="No such container: zz"):
        store.find("zz")


def test_name_conflict_says_who_holds_it(layout: Layout) -> None:
    store = filled(layout)
    with pytest.raises(NameInUseError) as caught:
        store.reserve("one", "ff" * 32)
    assert str(caught.value).startswith('Conflict. The container name "/one" is already in use by container "abab')


def test_a_reserved_name_is_no_container_yet(layout: Layout) -> None:
    store = ContainerStore(layout)
    store.reserve("soon", "c" * 64)
    with pytest.raises(NoSuchContainerError):
        store.find("soon")


def test_a_new_engine_reads_what_the_old_one_wrote(layout: Layout) -> None:
    filled(layout)
    again = ContainerStore(layout)
    assert again.load() == []
    assert sorted(record.name for record in again) == ["ab", "one", "two"]


def test_cut_creation_and_cut_removal_are_found(layout: Layout) -> None:
    store = filled(layout)
    os.mkdir(layout.container("ee" * 32))
    store.bury("ac" * 32)
    store.bury("ac" * 32)  # a removal that failed further on is tried again
    with pytest.raises(FileNotFoundError):
        store.bury("ee" * 32)
    again = ContainerStore(layout)
    assert again.load() == ["ac" * 32, "ee" * 32]
    assert not again.has("ac" * 32)


def test_a_newer_record_is_refused(layout: Layout) -> None:
    filled(layout)
    path = Path(layout.container("ab" * 32)) / "record.json"
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(NewerRecordError, match="record version 2"):
        ContainerStore(layout).load()


def test_rename_frees_the_old_name(layout: Layout) -> None:
    store = filled(layout)
    store.rename(store.find("one"), "uno")
    assert store.find("uno").id == "ab" * 32
    store.reserve("one", "ff" * 32)
    with pytest.raises(NameInUseError):
        store.rename(store.find("uno"), "two")
    assert store.find("uno").name == "uno"


def test_record_round_trip_keeps_the_opaque_documents() -> None:
    record = msgspec.structs.replace(make("ab" * 32, "x"), config=msgspec.Raw(b'{"Env":["A=1"]}'))
    assert bytes(records.decode(records.encode(record), "x").config) == b'{"Env":["A=1"]}'


def test_names() -> None:
    assert names.validate("/a_b.c-1") == "a_b.c-1"
    for bad in ("", "a", "_x", "a b", "ä1"):
        with pytest.raises(InvalidNameError):
            names.validate(bad)
    taken: set[str] = set()
    for _ in range(200):
        name = names.generate(taken)
        names.validate(name)
        assert name not in taken
        taken.add(name)


def test_every_transition_of_the_table_and_no_other() -> None:
    for before in Status:
        for after in Status:
            if before is after or after in TRANSITIONS[before]:
                check(before, after)
            else:
                with pytest.raises(TransitionError):
                    check(before, after)
