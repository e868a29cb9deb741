"""Archives in every dialect, written by Python's own tarfile, read by ours."""

import io
import os
import tarfile

import pytest

from rundlet.cli import tarheader
from rundlet.cli.tarreader import Pieces, Reader, TarError

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def written(form: int, members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def read(data: bytes, step: int) -> list[tuple[bytes, bytes, bytes, int, bytes]]:
    source = Pieces(data[start : start + step] for start in range(0, len(data), step))
    archive = Reader(source)
    found = [(item.name, item.kind, item.link, int(item.mtime), b"".join(archive.content())) for item in archive]
    assert source.count == len(data)
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("step", [7, 512, 1 << 20])
def test_dialects(form: str, step: int) -> None:
    long = f"{'d' * 90}/{'f' * 90}"
    members = [
        (member("dir", type=tarfile.DIRTYPE, mtime=1_700_000_000), b""),
        (member(long, mtime=3), b"x" * 1000),
        (member("link", type=tarfile.SYMTYPE, linkname=long if form != "ustar" else "short"), b""),
        (member("empty"), b""),
        (member("last"), os.urandom(5000)),
    ]
    found = read(written(FORMATS[form], members), step)
    assert [item[0].decode() for item in found] == ["dir/", long, "link", "empty", "last"]
    assert [item[1] for item in found] == [b"5", b"0", b"2", b"0", b"0"]
    assert found[0][3] == 1_700_000_000
    assert found[2][2].decode() == members[2][0].linkname
    assert [item[4] for item in found] == [data for _, data in members]


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_large_numbers(form: str) -> None:
    data = written(FORMATS[form], [(member("x", uid=3_000_000_000, mtime=-5), b"")])
    archive = Reader(Pieces([data]))
    found = next(iter(archive))
    assert (found.uid, found.mtime) == (3_000_000_000, -5)


def test_data_that_nobody_reads_is_skipped() -> None:
    data = written(tarfile.PAX_FORMAT, [(member("a"), b"1" * 3000), (member("b"), b"2")])
    assert [item.name for item in Reader(Pieces([data]))] == [b"a", b"b"]


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1024, 1536])
def test_cut_archives_are_errors(cut: int) -> None:
    data = tarheader.header(b"file", tarheader.REGULAR, size=900) + bytes(1024)
    with pytest.raises(TarError):
        list(Reader(Pieces([data[:cut]])))


@pytest.mark.parametrize("change", [(0, b"other"), (148, b"7777777"), (124, b"9")])
def test_headers_that_make_no_sense(change: tuple[int, bytes]) -> None:
    data = bytearray(tarheader.header(b"file", tarheader.REGULAR) + tarheader.END)
    data[change[0] : change[0] + len(change[1])] = change[1]
    with pytest.raises(TarError):
        list(Reader(Pieces([bytes(data)])))


def test_bad_extended_headers() -> None:
    for body in (b"nonsense", b"99 path=x\n", b"0 a=b\n", b"12 size=many\n"):
        head = tarheader.header(b"x", b"x", size=len(body)) + tarheader.padded(body)
        data = head + tarheader.header(b"file", tarheader.REGULAR) + tarheader.END
        with pytest.raises(TarError):
            list(Reader(Pieces([data])))
