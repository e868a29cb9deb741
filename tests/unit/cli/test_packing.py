"""Archives of local files: read back by Python's own tarfile."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from rundlet.cli import packing, tarheader


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_every_kind_of_file(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(b"x" * 700)
    os.chmod(tree / "deep" / "file", 0o4751)
    os.utime(tree / "deep" / "file", (5, 1_700_000_000))
    os.link(tree / "deep" / "file", tree / "second")
    (tree / "link").symlink_to("deep/file")
    os.mkfifo(tree / "pipe")
    os.mkdir(tree / ("d" * 120))
    (tree / ("d" * 120) / "ü").write_text("long")
    pieces = list(packing.pack(str(tree), "new", contents_only=False))
    assert len(pieces) == 1
    found = members(pieces[0])
    assert sorted(found) == sorted(
        [
            "new",
            *(f"new/{name}" for name in ("deep", "deep/file", "second", "link", "pipe", "d" * 120, f"{'d' * 120}/ü")),
        ]
    )
    file = found["new/deep/file"]
    assert (file.mode, file.size, file.mtime, file.uid) == (0o4751, 700, 1_700_000_000, os.getuid())
    assert (found["new/second"].type, found["new/second"].linkname) == (tarfile.LNKTYPE, "new/deep/file")
    assert (found["new/link"].type, found["new/link"].linkname) == (tarfile.SYMTYPE, "deep/file")
    assert found["new/pipe"].isfifo()
    with tarfile.open(fileobj=io.BytesIO(pieces[0])) as archive:
        read = archive.extractfile(f"new/{'d' * 120}/ü")
        assert read is not None
        assert read.read() == b"long"


def test_large_files_come_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(700_000))
    pieces = list(packing.pack(str(tmp_path / "big"), "big", contents_only=False))
    assert len(pieces) > 1
    assert members(b"".join(pieces))["big"].size == 700_000
    assert list(members(b"".join(packing.pack(str(tmp_path), "", contents_only=True)))) == [".", "./big"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uid": 3_000_000_000, "gid": 2**31}, {"uid": 3_000_000_000, "gid": 2**31}),
        ({"size": 9 << 30}, {"size": 9 << 30}),
        ({"mtime": -5}, {"mtime": -5}),
        ({"device": (8, 300)}, {"devmajor": 8, "devminor": 300}),
        ({"link": b"l" * 150}, {"linkname": "l" * 150}),
    ],
)
def test_what_does_not_fit_in_the_header(fields: dict[str, object], expected: dict[str, object]) -> None:
    kind = (
        tarheader.SYMLINK if "link" in fields else tarheader.BLOCK_DEVICE if "device" in fields else tarheader.REGULAR
    )
    data = tarheader.header(b"n" * 99, kind, **fields)  # type: ignore[arg-type]
    member = tarfile.TarFile(fileobj=io.BytesIO(data + tarheader.END)).next()
    assert member is not None
    assert {key: getattr(member, key) for key in expected} == expected
    assert member.name == "n" * 99


def test_names_that_are_no_text() -> None:
    name = b"\xff" * 120
    member = tarfile.TarFile(fileobj=io.BytesIO(tarheader.header(name, tarheader.REGULAR) + tarheader.END)).next()
    assert member is not None
    assert os.fsencode(member.name) == name


def test_file_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no such file"):
        list(packing.pack(str(tmp_path / "missing"), "x", contents_only=False))
