"""Headers of tar members, as bytes. ``tarfile`` would do, but its import takes longer than copying a file.

The format is ustar with pax records for what does not fit in it. See: POSIX, pax interchange format.
"""

from __future__ import annotations

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
BLOCK = 512
END = b"\0" * (2 * BLOCK)
_NAME = 100  # bytes of a name in the header itself
_SMALL = 8**7  # seven octal digits
_LARGE = 8**11


def header(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """The blocks before a member's content. ``mtime`` in seconds; ``device`` is major and minor."""
    records = b""
    for key, text in ((b"path", name), (b"linkpath", link)):
        if len(text) > _NAME:
            records += _record(key, text)
    for key, number, limit in ((b"size", size, _LARGE), (b"mtime", mtime, _LARGE)):
        if not 0 <= number < limit:
            records += _record(key, b"%d" % number)
    for key, number in ((b"uid", uid), (b"gid", gid)):
        if number >= _SMALL:
            records += _record(key, b"%d" % number)
    extended = b""
    if records:
        if not _is_utf8(name + link):
            records = _record(b"hdrcharset", b"BINARY") + records
        extended = _block(b"PaxHeaders/member", b"x", 0o644, 0, 0, len(records), 0, b"", (0, 0)) + padded(records)
    return extended + _block(name[:_NAME], kind, mode, uid % _SMALL, gid % _SMALL, size % _LARGE, mtime, link, device)


def padded(data: bytes) -> bytes:
    """To whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    start = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(_NAME, b"\0"), mode, uid, gid, size, _in_field(mtime))
    rest = kind + link[:_NAME].ljust(_NAME, b"\0") + b"ustar\x0000" + bytes(64) + b"%07o\0%07o\0" % device
    total = sum(start) + 8 * 0x20 + sum(rest)
    return (start + b"%06o\0 " % total + rest).ljust(BLOCK, b"\0")


def _in_field(mtime: int) -> int:
    return mtime if 0 <= mtime < _LARGE else 0


def _record(key: bytes, value: bytes) -> bytes:
    """``25 path=…\\n``: the number counts itself."""
    body = b" %s=%s\n" % (key, value)
    length = len(body)
    while True:
        whole = len(b"%d" % length) + len(body)
        if whole == length:
            return b"%d%s" % (length, body)
        length = whole


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
