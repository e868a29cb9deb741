"""What a tar's headers are made of: numbers, times and checksums, and the errors of a bad one.

Standard library only: it runs in the worker.
"""

from typing import Final

_MAX_SIZE: Final = (1 << 63) - 1
_MAX_NS: Final = (1 << 63) - 1


class TarError(Exception):
    """The archive can't be read; the message is the one line for the user."""


class TruncatedError(TarError):
    """The archive ends in the middle of something."""

    def __init__(self) -> None:
        super().__init__("unexpected EOF")


class InvalidHeaderError(TarError):
    """A header that no tar program writes."""

    def __init__(self, what: str) -> None:
        super().__init__(f"archive/tar: invalid tar header ({what})")


def quote(name: bytes) -> str:
    """``name`` in quotes on one line, whatever it holds, as Go's %q shows it."""
    return '"' + "".join(map(_shown, name.decode("utf-8", "surrogateescape"))) + '"'


_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _shown(character: str) -> str:
    # Not the unicode_escape codec: it would have to be imported, which a worker can't.
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def check_sum(header: bytes) -> None:
    """Raises InvalidHeaderError. Old programs summed signed bytes."""
    field = header[148:156]
    stored = number(field, "checksum")
    # Most bytes are zero, and leaving them out is much quicker than adding them.
    total = sum(header.translate(None, b"\0")) - sum(field) + 8 * 0x20
    if stored != total:
        as_signed = total - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
        if stored != as_signed:
            raise InvalidHeaderError("checksum")


def number(field: bytes, what: str) -> int:
    """A number of a header, octal or (for large ones) base-256. Raises InvalidHeaderError, naming ``what``."""
    digits = field[:-1]
    if field[-1] == 0 and digits.isdigit():  # as nearly all are
        try:
            return int(digits, 8)
        except ValueError:
            return _fail(what)
    if field[0] & 0x80:
        value = signed(field, what)
        if value < 0:
            raise InvalidHeaderError(what)
        return value
    digits = field.strip(b" \0")
    if not digits:
        return 0
    digits = digits.partition(b"\0")[0]
    try:
        return int(digits, 8) if digits.isdigit() else _fail(what)
    except ValueError:
        return _fail(what)


def signed(field: bytes, what: str) -> int:
    """A number that may be negative, which only base-256 can say."""
    if not field[0] & 0x80:
        return number(field, what)
    bits = len(field) * 8 - 1
    value = int.from_bytes(field, "big") & ((1 << bits) - 1)
    if field[0] & 0x40:
        value -= 1 << bits
    if not -_MAX_SIZE <= value <= _MAX_SIZE:
        _fail(what)
    return value


def _fail(what: str) -> int:
    raise InvalidHeaderError(what)


def decimal(value: bytes, what: str) -> int:
    """A number of a pax record. Raises InvalidHeaderError."""
    if not value.isdigit() or len(value) > 19:
        raise InvalidHeaderError(what)
    found = int(value)
    return found if found <= _MAX_SIZE else _fail(what)


def pax_time(value: bytes) -> int:
    """A time of a pax record in nanoseconds. Raises InvalidHeaderError."""
    whole, _dot, fraction = value.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 19 or (fraction and not fraction.isdigit()):
        raise InvalidHeaderError("mtime")
    nanoseconds = int(digits) * 1_000_000_000 + int((fraction[:9] + b"0" * 9)[:9])
    return -nanoseconds if whole[:1] == b"-" else nanoseconds


def bounded(nanoseconds: int) -> int:
    """Docker, too, takes a time that a file can't have for the epoch."""
    return nanoseconds if 0 <= nanoseconds <= _MAX_NS else 0
