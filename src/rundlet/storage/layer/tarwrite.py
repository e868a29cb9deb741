"""Headers of layer tars as Go's ``archive/tar`` writes them for Docker: ustar, with a pax header where one is needed.

The same entry always gives the same bytes. Standard library only: it runs in a worker.
"""

from typing import Final

from rundlet.storage.layer.tar import BLOCK, DIRECTORY, HARDLINK, SYMLINK, Entry

_PAX_TYPE: Final = b"x"
_OCTAL_7: Final = 0o7777777
_OCTAL_11: Final = 0o77777777777
_MAGIC: Final = b"ustar\x0000"
_NO_OWNER_NAMES: Final = bytes(64)
_NO_DEVICE: Final = b"%07o\0%07o\0" % (0, 0)
_REST: Final = bytes(167)
_SUM: Final = sum(_MAGIC) + 8 * ord(" ")


def encode(entry: Entry) -> bytes:
    """The header blocks of ``entry``; its data, padded by :func:`padding`, comes after them."""
    name = entry.name + b"/" if entry.type == DIRECTORY else entry.name
    link = entry.link if entry.type in (HARDLINK, SYMLINK) else b""
    records: list[tuple[bytes, bytes]] = []
    for key, text in ((b"path", name), (b"linkpath", link)):
        if len(text) > 100 or not text.isascii():
            records.append((key, text))
    for key, number, limit in (
        (b"uid", entry.uid, _OCTAL_7),
        (b"gid", entry.gid, _OCTAL_7),
        (b"size", entry.size, _OCTAL_11),
    ):
        if number > limit:
            records.append((key, b"%d" % number))
    seconds = entry.mtime_ns // 1_000_000_000
    if not 0 <= seconds <= _OCTAL_11:
        records.append((b"mtime", b"%d" % seconds))
    records += [(b"SCHILY.xattr." + key, value) for key, value in entry.xattrs or ()]
    header = _block(entry, name[:100], link[:100], entry.type, entry.size)
    return _pax(name, records) + header if records else header


def padding(size: int) -> bytes:
    """The zeros that fill up the last block of ``size`` bytes of data."""
    return bytes(-size % BLOCK)


END: Final = bytes(2 * BLOCK)
"""What an archive ends with."""


def _pax(name: bytes, records: list[tuple[bytes, bytes]]) -> bytes:
    data = b"".join(_record(key, value) for key, value in sorted(records))
    entry = Entry()
    entry.mode = entry.uid = entry.gid = entry.mtime_ns = entry.major = entry.minor = 0
    directory, _, base = name.rstrip(b"/").rpartition(b"/")
    short = (directory + b"/PaxHeaders.0/" + base).decode("ascii", "replace").encode("ascii", "replace")
    return _block(entry, short[:100].rstrip(b"/"), b"", _PAX_TYPE, len(data)) + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """``<length> <key>=<value>\\n``, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(entry: Entry, name: bytes, link: bytes, kind: bytes, size: int) -> bytes:
    seconds = entry.mtime_ns // 1_000_000_000
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        entry.mode,
        entry.uid if entry.uid <= _OCTAL_7 else 0,
        entry.gid if entry.gid <= _OCTAL_7 else 0,
        size if size <= _OCTAL_11 else 0,
        seconds if 0 <= seconds <= _OCTAL_11 else 0,
    )
    device = b"%07o\0%07o\0" % (entry.major, entry.minor) if entry.major or entry.minor else _NO_DEVICE
    # Of all bytes, with spaces in place of the sum itself; most of them are zero.
    checksum = sum(name) + sum(numbers) + sum(kind) + sum(link) + sum(device) + _SUM
    return b"%b%b%06o\0 %b%b%b%b%b%b" % (
        name.ljust(100, b"\0"),
        numbers,
        checksum,
        kind,
        link.ljust(100, b"\0"),
        _MAGIC,
        _NO_OWNER_NAMES,
        device,
        _REST,
    )
