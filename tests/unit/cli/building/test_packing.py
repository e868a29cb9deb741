"""Contexts as archives: what is in them, what isn't, and that any tar can read them."""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from rundlet.builder.ignore import Patterns
from rundlet.cli.building.headers import REGULAR, header
from rundlet.cli.building.packing import Tree
from rundlet.cli.exit import CommandError


def packed(root: Path, patterns: list[str], extra: Mapping[str, bytes] | None = None) -> dict[str, tarfile.TarInfo]:
    data = b"".join(Tree(str(root), Patterns(patterns), extra).pack())
    assert len(data) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def content(root: Path, name: str, extra: Mapping[str, bytes] | None = None) -> bytes:
    data = b"".join(Tree(str(root), Patterns(()), extra).pack())
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read()


def tree(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_kinds_of_files(tmp_path: Path) -> None:
    tree(tmp_path, "plain", "dir/inner")
    (tmp_path / "plain").chmod(0o4755)
    os.utime(tmp_path / "plain", (1_000_000_000.9, 1_000_000_000.9))
    (tmp_path / "link").symlink_to("dir/inner")
    os.link(tmp_path / "plain", tmp_path / "twin")
    os.mkfifo(tmp_path / "fifo")
    found = packed(tmp_path, [])
    assert list(found) == ["dir", "dir/inner", "fifo", "link", "plain", "twin"]
    assert found["dir"].isdir()
    assert found["link"].linkname == "dir/inner"
    assert found["twin"].islnk()
    assert found["twin"].linkname == "plain"
    assert found["fifo"].isfifo()
    assert (found["plain"].mode, found["plain"].mtime) == (0o4755, 1_000_000_000)
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}


def test_names_that_need_more_room(tmp_path: Path) -> None:
    long = "n" * 200
    tree(tmp_path, f"{long}/{long}/é")
    (tmp_path / "link").symlink_to("ü" * 100)
    found = packed(tmp_path, [])
    assert f"{long}/{long}/é" in found
    assert found["link"].linkname == "ü" * 100
    assert content(tmp_path, f"{long}/{long}/é") == f"{long}/{long}/é".encode()


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff\xfe", os.O_CREAT))
    data = b"".join(Tree(str(tmp_path), Patterns(())).pack())
    assert b"path=\xff\xfe\n" in data


def test_sizes_and_times_beyond_the_header() -> None:
    head = header(b"big", REGULAR, 0o644, -5, size=1 << 40)
    member = tarfile.TarInfo.frombuf(head[-512:], "utf-8", "surrogateescape")
    assert b"size=%d\n" % (1 << 40) in head
    assert b"mtime=-5\n" in head
    assert member.name == "big"


def test_what_is_ignored_stays_at_home(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.md", "a/b/y.md", "a/b/z.txt", "c/d", ".git/HEAD", "e.log")
    assert list(packed(tmp_path, [".git", "*.log", "c"])) == ["a", "a/b", "a/b/y.md", "a/b/z.txt", "a/x.md"]


def test_directories_come_along_for_what_is_kept_in_them(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.md", "a/b/y.md", "a/b/z.txt", "c/d", "e/f/g")
    assert list(packed(tmp_path, ["*", "!**/y.md", "!e/f"])) == ["a", "a/b", "a/b/y.md", "e", "e/f", "e/f/g"]


def test_extra_files_take_the_place_of_those_there(tmp_path: Path) -> None:
    tree(tmp_path, "Dockerfile", ".dockerignore")
    extra = {".dockerignore": b"mine", "Dockerfile.x": b"FROM x"}
    assert sorted(packed(tmp_path, ["Dockerfile"], extra)) == [".dockerignore", "Dockerfile.x"]
    assert content(tmp_path, ".dockerignore", extra) == b"mine"


def test_a_file_that_can_not_be_read_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "secret")
    real = os.open

    def refuse(path: object, *rest: object, **more: object) -> int:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CommandError, match=r"error from sender: open .*/secret: permission denied"):
        packed(tmp_path, [])


def test_a_file_that_changes_while_it_is_sent_keeps_its_size(tmp_path: Path) -> None:
    tree(tmp_path, "b")
    (tmp_path / "a").write_bytes(b"x" * 300_000)
    pieces = Tree(str(tmp_path), Patterns(())).pack()
    data = next(pieces)
    (tmp_path / "a").write_bytes(b"y" * 10)
    data += b"".join(pieces)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [member.size for member in archive] == [300_000, 1]
