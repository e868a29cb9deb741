"""Headers of layer tars as Go's ``archive/tar`` writes them for Docker: ustar, with a pax header where one is needed.

The same entry always gives the same bytes. Standard library only: it runs in a worker.
"""

from typing import Final

from rundlet.storage.layer.tar import BLOCK, DIRECTORY, HARDLINK, SYMLINK, Entry

_PAX_TYPE: Final = b"x"
_OCTAL_7: Final = 0o7777777
_OCTAL_11: Final = 0o77777777777


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
    header = bytearray(BLOCK)
    header[0 : len(name)] = name
    header[100:108] = b"%07o\0" % entry.mode
    header[108:116] = b"%07o\0" % (entry.uid if entry.uid <= _OCTAL_7 else 0)
    header[116:124] = b"%07o\0" % (entry.gid if entry.gid <= _OCTAL_7 else 0)
    header[124:136] = b"%011o\0" % (size if size <= _OCTAL_11 else 0)
    header[136:148] = b"%011o\0" % (seconds if 0 <= seconds <= _OCTAL_11 else 0)
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[157 : 157 + len(link)] = link
    header[257:265] = b"ustar\x0000"
    header[329:337] = b"%07o\0" % entry.major
    header[337:345] = b"%07o\0" % entry.minor
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header)
