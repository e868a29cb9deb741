"""Files with holes, as GNU tar writes them in each of its four ways."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from rundlet.storage.layer.fields import TarError
from rundlet.storage.layer.tar import Reader, Source

FORMATS = {
    "old": ("--format=gnu",),
    "0.0": ("--format=posix", "--sparse-version=0.0"),
    "0.1": ("--format=posix", "--sparse-version=0.1"),
    "1.0": ("--format=posix", "--sparse-version=1.0"),
}
_STEP = 1 << 16


def _sparse_file(path: Path, pieces: int) -> None:
    with path.open("wb") as file:
        for number in range(pieces):
            file.seek(number * 4 * _STEP + _STEP)
            file.write(b"%08d" % number * 1000)
        file.truncate(pieces * 4 * _STEP + 12345)


def _packed(directory: Path, format_: str) -> Path:
    archive = directory.parent / "packed.tar"
    names = sorted(os.listdir(directory))
    subprocess.run(["tar", "-C", directory, "-S", *FORMATS[format_], "-cf", archive, *names], check=True)
    return archive


def _contents(archive: Path, scratch: Path, *, copied: bool) -> dict[bytes, bytes]:
    found = {}
    with archive.open("rb") as file:
        reader = Reader(Source(file.fileno()))
        while (entry := reader.next()) is not None:
            assert entry.type == b"0"
            if copied:
                with scratch.open("wb+") as out:
                    reader.copy_data(out.fileno())
                    out.seek(0)
                    data = out.read()
                    assert scratch.stat().st_blocks * 512 < max(len(data), 1)
            else:
                data = b"".join(iter(lambda: reader.read_data(70_000), b""))
            assert entry.size == len(data)
            found[entry.name] = data
    return found


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "read"])
@pytest.mark.parametrize("format_", FORMATS)
def test_what_gnu_tar_packs(format_: str, copied: bool, tmp_path: Path) -> None:
    directory = tmp_path / "files"
    directory.mkdir()
    # In the header; in one block behind it; in several; no data at all; a name too long for a header.
    for name, pieces in (("a", 3), ("b", 20), ("c", 200), ("d", 0), ("e" * 150, 5)):
        _sparse_file(directory / name, pieces)
    found = _contents(_packed(directory, format_), tmp_path / "scratch", copied=copied)
    assert found == {os.fsencode(path.name): path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("format_", FORMATS)
def test_members_behind_one_that_is_not_read(format_: str, tmp_path: Path) -> None:
    directory = tmp_path / "files"
    directory.mkdir()
    _sparse_file(directory / "a", 40)
    (directory / "b").write_bytes(b"plain")
    with _packed(directory, format_).open("rb") as file:
        reader = Reader(Source(file.fileno()))
        assert (reader.next() or pytest.fail()).name == b"a"
        assert (reader.next() or pytest.fail()).name == b"b"
        assert reader.read_data(100) == b"plain"
        assert reader.next() is None


def _pax(records: dict[str, str], data: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo("x")
    info.pax_headers = {f"GNU.sparse.{key}": value for key, value in records.items()}
    info.size = len(data)
    info.type = kind
    return info.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512) + bytes(1024)


def _old(fields: bytes, real: int, data: bytes = b"", more: int = 0) -> bytes:
    info = tarfile.TarInfo("x")
    info.size = len(data)
    info.type = b"S"
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386 : 386 + len(fields)] = fields
    header[482] = more
    header[483:495] = b"%011o\0" % real
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header) + data + bytes(-len(data) % 512) + bytes(1024)


ONE = {"major": "1", "minor": "0"}


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (_pax({**ONE, "realsize": "10"}, b"1\n8\n4\n" + bytes(506) + b"data"), "sparse map"),  # beyond the end
        (_pax({**ONE, "realsize": "10"}, b"2\n0\n2\n1\n2\n" + bytes(502) + b"data"), "sparse map"),  # overlapping
        (_pax({**ONE, "realsize": "10"}, b"1\n0\n8\n" + bytes(506) + b"data"), "sparse map"),  # more than there is
        (_pax({**ONE, "realsize": "10"}, b"1\n0\n2\n" + bytes(506) + b"data"), "sparse map"),  # less than there is
        (_pax({**ONE, "realsize": "10"}, b"1\n-1\n2\n" + bytes(506) + b"da"), "sparse map"),
        (_pax({**ONE, "realsize": "10"}, b"x\n"), "sparse map"),
        (_pax({**ONE}, b"0\n"), "sparse size"),
        (_pax({**ONE, "realsize": "9" * 30}, b"0\n"), "sparse size"),
        (_pax({**ONE, "realsize": "10"}, b"9" * (2 << 20)), "too long"),
        (_pax({**ONE, "realsize": "10"}, b"900000\n" + b"0\n" * (1 << 20)), "too long"),
        (_pax({**ONE, "realsize": "10"}, b"7\n1\n")[:1600], "unexpected EOF"),
        (_pax({"map": "0,4", "numblocks": "2", "size": "4"}, b"data"), "sparse map"),
        (_pax({"map": "0,4,", "numblocks": "1", "size": "4"}, b"data"), "sparse map"),
        (_pax({"map": "0,4", "size": "4"}, b"data"), "sparse map"),
        (_pax({"map": "0,0", "numblocks": "1", "size": "4"}, b"", tarfile.DIRTYPE), "sparse map"),
        (_pax({"numbytes": "4", "numblocks": "1", "size": "4"}, b"data"), "sparse map"),
        (_old(b"%011o\0%011o\0" % (0, 4), 3, b"data"), "sparse map"),
        (_old(b"%011o\0%011o\0" % (0, 4), 4, b"dat"), "sparse map"),
        (_old(b"%011o\0zzzzzzzzzzz\0" % 0, 4, b"data"), "sparse map"),
        (_old(b"", 4, more=1)[:512], "unexpected EOF"),
        (_old(b"", 4, more=1)[:512] + (b"00000000000\0" * 42 + bytes(8))[:504].ljust(504, b"\0") + b"\1" * 8, "EOF"),
    ],
)
def test_maps_that_no_program_writes(archive: bytes, message: str) -> None:
    fd = os.memfd_create("tar")
    try:
        os.write(fd, archive)
        os.lseek(fd, 0, os.SEEK_SET)
        with pytest.raises(TarError, match=message):
            Reader(Source(fd)).next()
    finally:
        os.close(fd)


def test_an_unknown_version_is_an_ordinary_file(tmp_path: Path) -> None:
    archive = tmp_path / "x.tar"
    archive.write_bytes(_pax({"major": "2", "minor": "0", "realsize": "10", "name": "y"}, b"data"))
    assert _contents(archive, tmp_path / "scratch", copied=False) == {b"x": b"data"}
