"""Headers of tar members, made by hand: ``tarfile`` takes longer for a header than the kernel for the file.

ustar; pax records for what has no room there (long names, large files, extended attributes).
"""

from __future__ import annotations

BLOCK = 512
REGULAR, HARD_LINK, SYMBOLIC_LINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_LARGEST = 8**11 - 1
_NAME = 100
_PAX_MODE = 0o644


def header(
    name: bytes,
    kind: bytes,
    mode: int,
    mtime: int,
    *,
    size: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    records: dict[bytes, bytes] | None = None,
) -> bytes:
    """One member's header, with a pax header before it where one is needed. Owner is 0:0; ``mtime`` in seconds."""
    more = dict(records or ())
    if len(name) > _NAME or not name.isascii():
        more[b"path"] = name
    if len(link) > _NAME or not link.isascii():
        more[b"linkpath"] = link
    if size > _LARGEST:
        more[b"size"] = b"%d" % size
    if not 0 <= mtime <= _LARGEST:
        more[b"mtime"] = b"%d" % mtime
        mtime = 0
    start = b""
    if more:
        body = b"".join(_record(key, value) for key, value in more.items())
        start = _ustar(b"././@PaxHeader", b"x", _PAX_MODE, 0, len(body), b"", (0, 0)) + body + bytes(-len(body) % BLOCK)
    return start + _ustar(name[:_NAME], kind, mode, mtime, min(size, _LARGEST), link[:_NAME], device)


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH key=value\\n``, where LENGTH counts itself."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) != length:
        length = len(rest) + len(str(length))
    return b"%d%b" % (length, rest)


def _ustar(name: bytes, kind: bytes, mode: int, mtime: int, size: int, link: bytes, device: tuple[int, int]) -> bytes:
    first = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(_NAME, b"\0"), mode & 0o7777, 0, 0, size, mtime)
    rest = b"%b%b%b%b%b%07o\0%07o\0%b" % (
        kind,
        link.ljust(_NAME, b"\0"),
        b"ustar\00000",
        bytes(32),
        bytes(32),
        device[0] & 0o7777777,
        device[1] & 0o7777777,
        bytes(167),
    )
    checksum = sum(first) + sum(rest) + 8 * ord(" ")
    return b"%b%06o\0 %b" % (first, checksum, rest)
