"""Headers: where formats leave room, the same bytes must mean what they mean to Go's archive/tar."""

import os
import tarfile

import pytest

from rundlet.storage.layer.fields import TarError, quote
from rundlet.storage.layer.tar import Entry, Reader, Source, clean, parse_pax


def _read(data: bytes) -> list[Entry]:
    fd = os.memfd_create("tar")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        reader = Reader(Source(fd))
        entries = []
        while (entry := reader.next()) is not None:
            entries.append(entry)
        return entries
    finally:
        os.close(fd)


def _header(name: str = "x", format: int = tarfile.USTAR_FORMAT, **fields: object) -> bytearray:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return bytearray(info.tobuf(format, "utf-8", "surrogateescape"))


def _sealed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return bytes(header)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a/b", b"a/b"),
        (b"./a", b"a"),
        (b"/a/", b"a"),
        (b"a//b/./c", b"a/b/c"),
        (b"a/../b", b"b"),
        (b"/../../b", b"b"),
        (b".", b""),
        (b"./", b""),
        (b"/", b""),
        (b"", b""),
        (b"...", b"..."),
        (b".a/..b", b".a/..b"),
        (b"a/..", b""),
    ],
)
def test_names_are_cleaned_as_docker_does(name: bytes, expected: bytes) -> None:
    assert clean(name) == expected


@pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"./..", b"x" * 4096])
def test_names_outside(name: bytes) -> None:
    with pytest.raises(TarError):
        clean(name)


def test_quoting_keeps_to_one_line() -> None:
    assert quote(b'a\nb\x1b\xff"\\\xe2\x80\xae\xc3\xbc') == r'"a\nb\x1b\xff\"\\\u202eü"'


def test_end_of_the_archive() -> None:
    one = bytes(_header())
    assert len(_read(one + bytes(1024) + b"ignored")) == 1
    assert len(_read(one + bytes(512))) == 1
    assert len(_read(one)) == 1
    assert _read(b"") == []
    # As Docker's command line sends a context with a Dockerfile from elsewhere: nothing behind the last byte.
    assert len(_read(bytes(_header(size=5)) + b"12345")) == 1
    with pytest.raises(TarError, match="unexpected EOF"):
        _read(bytes(_header(size=5)) + b"1234")
    with pytest.raises(TarError, match="one zero block"):
        _read(one + bytes(512) + one)
    with pytest.raises(TarError, match="unexpected EOF"):
        _read(one + bytes(100))


def test_checksums() -> None:
    header = _header("naïve", format=tarfile.GNU_FORMAT)
    assert _read(bytes(header))[0].name == "naïve".encode()
    signed = sum(byte - 256 if byte > 127 else byte for byte in header[:148] + header[156:512]) + 8 * 32
    header[148:156] = b"%06o\0 " % signed
    assert _read(bytes(header))[0].name == "naïve".encode()
    header[0] ^= 1
    with pytest.raises(TarError, match="checksum"):
        _read(bytes(header))


def test_numbers() -> None:
    header = _header()
    header[108:116] = b"\x80\0\0\0\0\x0f\x42\x40"  # base-256: 1,000,000
    header[136:148] = b"\xff" * 12  # -1
    entry = _read(_sealed(header))[0]
    assert (entry.uid, entry.mtime_ns) == (1_000_000, 0)
    header = _header()
    header[136:148] = b"\x80\0\0\0\0\0\0\1\0\0\0\0"
    assert _read(_sealed(header))[0].mtime_ns == (1 << 32) * 10**9
    for field, value in ((108, b"\xff" * 8), (124, b"\xff" * 12), (100, b"9999999\0"), (124, b"-1\0" + bytes(9))):
        header = _header()
        header[field : field + len(value)] = value
        with pytest.raises(TarError, match="invalid tar header"):
            _read(_sealed(header))


def test_v7_and_star() -> None:
    header = _header("dir/")
    header[156] = 0
    header[257:512] = bytes(255)
    header[345:350] = b"never"  # a v7 header has no prefix
    entry = _read(_sealed(header))[0]
    assert (entry.name, entry.type) == (b"dir", b"5")
    header = _header("file")
    header[345:351] = b"prefix"
    header[476:500] = b"1" * 24
    header[508:512] = b"tar\0"
    assert _read(_sealed(header))[0].name == b"prefix/file"


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (b"usr/lib/deep", b"usr/lib/deep/file"),
        (b"14777777777\0" + b"14777777777\0", b"file"),  # times
        (b"\x80" + bytes(10) + b"\1", b"file"),
        (b"\xff" * 12, b"file"),
        (b"d\xfcr", b"file"),
        (b"14777777777\0" + b"no time", b"14777777777/file"),
    ],
)
def test_the_prefix_that_old_docker_wrote_where_gnu_has_times(where: bytes, name: bytes) -> None:
    header = _header("file", tarfile.GNU_FORMAT)
    header[345 : 345 + len(where)] = where
    assert _read(_sealed(header))[0].name == name


def test_types_without_data_have_none_whatever_their_size_says() -> None:
    header = _header("d", type=tarfile.DIRTYPE)
    header[124:136] = b"00000001000\0"
    assert [entry.name for entry in _read(_sealed(header) + bytes(_header("next")))] == [b"d", b"next"]


def test_gnu_names_beat_pax_names() -> None:
    long = _header("././@LongLink", type=b"L", size=5)
    pax = _header("pax", type=b"x", size=11)
    data = bytes(long) + b"gnu\0x".ljust(512, b"\0") + bytes(pax) + b"11 path=abc".ljust(512, b"\0")
    with pytest.raises(TarError, match="pax record"):
        _read(data + bytes(_header()))
    data = bytes(long) + b"gnu\0x".ljust(512, b"\0") + bytes(pax) + b"11 path=ab\n".ljust(512, b"\0")
    assert _read(data + bytes(_header()))[0].name == b"gnu"


def test_global_headers_change_nothing() -> None:
    data = bytes(_header("g", type=b"g", size=11)) + b"11 path=ab\n".ljust(512, b"\0") + bytes(_header("own"))
    assert _read(data)[0].name == b"own"


@pytest.mark.parametrize(
    "records",
    [
        b"x",
        b"5 a=b",
        b"6 a=b\nx",
        b"99 a=b\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"5 ab\n",
        b"5 =b\n",
        b" a=b\n",
        b"13 path=a\0bc\n",
        b"999999999999999999999999 a=b\n",
    ],
)
def test_bad_pax_records(records: bytes) -> None:
    with pytest.raises(TarError):
        parse_pax(records)


def test_pax_records() -> None:
    assert parse_pax(b"6 a=b\n6 a=\n"[:6]) == {b"a": b"b"}
    assert parse_pax(b"6 a=b\n5 a=\n") == {}
    assert parse_pax(b"11 a=b=c\nd\n") == {b"a": b"b=c\nd"}


@pytest.mark.parametrize("value", [b"abc", b"1e9", b"--1", b"1.x", b""])
def test_bad_pax_values(value: bytes) -> None:
    record = b"mtime=" + value + b"\n"
    length = len(record) + 3
    data = b"%d %s" % (length, record)
    if not value:
        assert parse_pax(data) == {}
        return
    archive = bytes(_header("pax", type=b"x", size=len(data))) + data.ljust(512, b"\0") + bytes(_header())
    with pytest.raises(TarError, match="mtime"):
        _read(archive)
