"""What layers do to the files below them, from their directories, whatever hides what."""

import os
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rundlet.image import anatomy
from rundlet.image.records import Layer
from rundlet.linux import userns
from rundlet.oci.config import ImageConfig, RootFS
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.layer.whiteout import make_whiteout

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

HIDDEN = None
Tree = Mapping[str, str | None]


def layer(root: Path, number: int, files: Tree) -> str:
    """A layer's directory: contents by path; ``d/`` is a directory, ``d/!`` an opaque one, HIDDEN makes a whiteout."""
    top = root / str(number)
    top.mkdir()
    for name, content in files.items():
        path = top / name.rstrip("/!")
        (path if name.endswith(("/", "!")) else path.parent).mkdir(parents=True, exist_ok=True)
        if name.endswith("!"):
            os.setxattr(path, userns.OPAQUE_XATTR, b"y")
        elif name.endswith("/"):
            continue
        elif content is HIDDEN:
            fd = os.open(path.parent, os.O_RDONLY)
            make_whiteout(path.name, fd)
            os.close(fd)
        else:
            path.write_text(content)
    return str(top)


def stack(root: Path, *trees: Tree) -> list[str]:
    return [layer(root, number, tree) for number, tree in enumerate(trees)]


def take_apart(directories: list[str], *, files: bool = True) -> list[anatomy.LayerAnatomy]:
    chain = Digest.of(b"")
    rows = [Layer(chain, chain, 0, Descriptor("", chain, 0)) for _ in directories]
    config = ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=(chain,) * len(directories)))
    return anatomy.layers(config, rows, directories, files=files)


def shown(layer: anatomy.LayerAnatomy) -> list[str]:
    return [f"{change.kind[0]} {change.path} {change.wasted}" for change in layer.files]


BASE: Tree = {"a/b/f": "12345", "a/g": "1", "l": "22", "other/x": "666666"}


@pytest.mark.parametrize(
    ("upper", "changes", "differences"),
    [
        ({"a": HIDDEN}, ["d a 0", "d a/b 0", "d a/b/f 5", "d a/g 1"], ["a", "a/b", "a/b/f", "a/g"]),
        ({"a/!": "", "a/g": "4"}, ["d a/b 0", "d a/b/f 5", "c a/g 1"], ["a/b", "a/b/f", "a/g"]),
        ({"a": "file"}, ["c a 0", "d a/b 0", "d a/b/f 5", "d a/g 1"], ["a", "a/b", "a/b/f", "a/g"]),
        ({"l/": "", "l/f": "3"}, ["c l 2", "a l/f 0"], ["l", "l/f"]),
        ({"a/b/f": "12345", "no": HIDDEN, "a/no": HIDDEN}, ["c a/b/f 5"], []),
        ({"other/y": "1", "a/b/": ""}, ["a other/y 0"], ["other/y"]),
        # It hides what is below, and what it brings itself stays.
        ({"a/b/!": "", "a/b/c/d": "1"}, ["a a/b/c 0", "a a/b/c/d 0", "d a/b/f 5"], ["a/b/c", "a/b/c/d", "a/b/f"]),
    ],
)
def test_what_a_layer_changes(tmp_path: Path, upper: Tree, changes: list[str], differences: list[str]) -> None:
    directories = stack(tmp_path, BASE, upper)
    found = take_apart(directories)
    assert shown(found[0]) == [f"a {name} 0" for name in ("a", "a/b", "a/b/f", "a/g", "l", "other", "other/x")]
    assert shown(found[1]) == changes
    assert sum(found[1].counts.values()) == len(changes)
    assert found[1].wasted == sum(int(line.split()[2]) for line in changes)
    assert [change.path for change in anatomy.differences(directories[:1], directories)] == differences


def test_what_a_third_layer_has_after_a_second_hid_it(tmp_path: Path) -> None:
    directories = stack(tmp_path, BASE, {"a": HIDDEN, "l": HIDDEN}, {"a/b/f": "1", "a/g": HIDDEN})
    found = take_apart(directories)
    assert shown(found[2]) == ["a a 0", "a a/b 0", "a a/b/f 0"]
    assert [(c.path, c.kind) for c in anatomy.differences(directories[:1], directories)] == [
        ("a/b/f", "changed"),
        ("a/g", "deleted"),
        ("l", "deleted"),
    ]
    assert len(anatomy.differences([], directories)) == 5
    assert {c.kind for c in anatomy.differences(directories, [])} == {"deleted"}


def test_of_a_file_with_several_names_the_first_weighs(tmp_path: Path) -> None:
    directories = stack(tmp_path, {"b/y": "12345", "c": "1"})
    for name in ("b/z", "b/a", "a/z", "a/y", "c2"):
        os.makedirs(os.path.dirname(f"{directories[0]}/{name}"), exist_ok=True)
        os.link(f"{directories[0]}/{'c' if name == 'c2' else 'b/y'}", f"{directories[0]}/{name}")
    [layer] = take_apart(directories)
    assert {change.path: change.size for change in layer.files if change.size} == {"a/y": 5, "c": 1}
    found = anatomy.differences([], directories)
    assert {change.path: change.size for change in found if change.size} == {"a/y": 5, "c": 1}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The directories that were read."""
    found: list[bytes] = []
    listed = anatomy._listed
    monkeypatch.setattr(anatomy, "_listed", lambda place: (found.append(place), listed(place))[1])
    yield found


def test_each_directory_is_read_once_and_the_same_ones_never(tmp_path: Path, read: list[bytes]) -> None:
    many: Tree = {f"d{number}/e/f": "x" for number in range(50)}
    directories = stack(tmp_path, many, {f"d{number}": HIDDEN for number in range(40)}, {"d45/e/g": "y"})
    take_apart(directories)
    assert len(read) == len(set(read)) == 3 + 100 + 2
    read.clear()
    assert [change.path for change in anatomy.differences(directories[:2], directories)] == ["d45/e/g"]
    assert {os.fsdecode(place)[len(directories[0]) :] for place in read} == {"", "/d45", "/d45/e"}


def test_many_files_take_no_memory_unless_they_are_asked_for(tmp_path: Path) -> None:
    many: Tree = {f"d{number % 100}/{number}": "" for number in range(5000)}
    directories = stack(tmp_path, many, {f"d{number}": HIDDEN for number in range(100)})
    peaks = []
    for files in (False, True):
        tracemalloc.start()
        found = take_apart(directories, files=files)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (found[0].counts["added"], found[1].counts["deleted"]) == (5100, 5100)
    assert peaks[0] < peaks[1] / 4
