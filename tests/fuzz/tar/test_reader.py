"""The tar reader under mutated archives: it answers or refuses in one line, and agrees with the standard library."""

import io
import os
import random
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.storage.layer.fields import TarError
from rundlet.storage.layer.tar import Reader, Source, clean

_NAMES = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name and b".." not in name)


def _names(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    fd = os.memfd_create("fuzz")
    sink = os.open("/dev/null", os.O_WRONLY)
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        reader = Reader(Source(fd))
        while (entry := reader.next()) is not None:
            if entry.size:
                reader.copy_data(sink)
            yield entry.name, entry.link
    finally:
        os.close(fd)
        os.close(sink)


def _archive(names: list[bytes], format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(os.fsdecode(name))
            info.size = number * 700
            info.uid = number << number % 40
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return buffer.getvalue()


@given(st.lists(_NAMES, max_size=6), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_names_arrive(names: list[bytes], format: int) -> None:
    expected = [clean(name) for name in names]
    # An entry whose name ends in a slash is still a file to tarfile; names are what counts here.
    assert [name for name, _link in _names(_archive(names, format))] == expected


@given(st.binary(max_size=3000))
def test_noise(data: bytes) -> None:
    try:
        list(_names(data))
    except TarError as exc:
        assert str(exc).isprintable()


@pytest.mark.parametrize("seed", range(40))
def test_mutations(seed: int) -> None:
    source = random.Random(seed)
    names = [b"a", b"d/" * 60 + b"x", "ü".encode() * 80, b"last"]
    original = _archive(names, source.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    for _ in range(50):
        data = bytearray(original)
        for _ in range(source.randrange(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
        if source.random() < 0.3:
            data = data[: source.randrange(len(data))]
        try:
            found = list(_names(bytes(data)))
        except TarError as exc:
            assert str(exc).isprintable()
        else:
            assert all(not name.startswith((b"/", b"../")) for name, _link in found)
