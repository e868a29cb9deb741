"""DNS messages: what a client asks, and answers in its terms. Bytes in, bytes out; nothing else.

See: RFC 1035, section 4; RFC 6891 (EDNS).
"""

import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

A: Final = 1
PTR: Final = 12
AAAA: Final = 28
ANY: Final = 255
_OPT: Final = 41
_CLASS_IN: Final = 1
_CLASS_ANY: Final = 255

NOERROR: Final = 0
FORMERR: Final = 1
SERVFAIL: Final = 2
NOTIMP: Final = 4
REFUSED: Final = 5

HEADER: Final = struct.Struct(">HHHHHH")
_QR: Final = 0x8000
_OPCODE: Final = 0x7800
_TC: Final = 0x0200
_RD: Final = 0x0100
_RA: Final = 0x0080
_TTL: Final = 600  # seconds, as Docker's
_QUESTION_NAME: Final = b"\xc0\x0c"  # a pointer to the name in the question
_MIN_SIZE: Final = 512
_MAX_SIZE: Final = 4096
_MAX_NAME: Final = 255
_MAX_LABEL: Final = 63


class FormatError(Exception):
    """The message is no query that can be answered in its own terms: answer ``rcode``."""

    def __init__(self, rcode: int) -> None:
        super().__init__(rcode)
        self.rcode = rcode


class Query(NamedTuple):
    """One question. ``name`` is in lower case, without the last dot; ``question`` its bytes as they were sent."""

    id: int
    flags: int
    name: str
    kind: int
    question: bytes
    edns: bool
    size: int
    """The longest answer by UDP that the client takes, in bytes."""


class Record(NamedTuple):
    """An answer's type and data; its name is the question's."""

    kind: int
    data: bytes


def parse(data: bytes) -> Query | None:
    """The query in ``data``; None for what must not be answered at all. Raises: FormatError."""
    if len(data) < HEADER.size:
        return None
    identifier, flags, questions, _answers, _authorities, additional = HEADER.unpack_from(data)
    if flags & _QR:
        return None  # An answer: answering it would be a loop.
    if flags & _OPCODE:
        raise FormatError(NOTIMP)
    if questions != 1:
        raise FormatError(FORMERR)
    labels, end = _labels(data, HEADER.size)
    if end + 4 > len(data):
        raise FormatError(FORMERR)
    kind, kind_class = struct.unpack_from(">HH", data, end)
    if kind_class not in (_CLASS_IN, _CLASS_ANY):
        raise FormatError(REFUSED)
    end += 4
    name = b".".join(labels).decode("latin-1").lower()
    edns, size = _edns(data, end, additional)
    return Query(identifier, flags, name, kind, data[HEADER.size : end], edns, size)


def respond(query: Query, records: Sequence[Record], *, rcode: int = NOERROR, limit: int = 65535) -> bytes:
    """The answer; where ``limit`` bytes don't hold it, as many records as fit, and "ask by TCP".

    There are clients that never ask by TCP and take what they get.
    """
    extra = b"\0" + struct.pack(">HHIH", _OPT, _MAX_SIZE, 0, 0) if query.edns else b""
    flags = _QR | (query.flags & _RD) | _RA | rcode
    body, count = b"", 0
    room = limit - HEADER.size - len(query.question) - len(extra)
    for record in records:
        head = struct.pack(">HHIH", record.kind, _CLASS_IN, _TTL, len(record.data))
        if len(body) + len(_QUESTION_NAME) + len(head) + len(record.data) > room:
            flags |= _TC
            break
        body += _QUESTION_NAME + head + record.data
        count += 1
    return HEADER.pack(query.id, flags, 1, count, 0, 1 if extra else 0) + query.question + body + extra


def refuse(data: bytes, rcode: int) -> bytes:
    """An answer without a question, to something that could not be read. ``data`` has a header at least."""
    identifier, flags = struct.unpack_from(">HH", data)
    return HEADER.pack(identifier, _QR | (flags & (_OPCODE | _RD)) | _RA | rcode, 0, 0, 0, 0)


def answers(data: bytes, identifier: int, question: bytes) -> bool:
    """Whether ``data`` is an answer to that very question (names compare without regard to case)."""
    if len(data) < HEADER.size + len(question):
        return False
    got, flags, questions = struct.unpack_from(">HHH", data)
    asked = data[HEADER.size : HEADER.size + len(question)]
    return got == identifier and bool(flags & _QR) and questions == 1 and asked.lower() == question.lower()


def rcode_of(data: bytes) -> int:
    return data[3] & 0x0F


def with_id(data: bytes, identifier: int) -> bytes:
    """The same message under another number."""
    return identifier.to_bytes(2, "big") + data[2:]


def encode_name(name: str) -> bytes:
    """A name as length-prefixed labels; a label too long is cut, as nothing better can be said with it."""
    labels = [label.encode("latin-1", "replace")[:_MAX_LABEL] for label in name.split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels)[: _MAX_NAME - 1] + b"\0"


def reverse_address(name: str) -> str:
    """The address that ``4.3.2.1.in-addr.arpa`` or ``….ip6.arpa`` asks for; empty when it is none."""
    if name.endswith(".ip6.arpa"):
        digits = name.removesuffix(".ip6.arpa").split(".")
        if len(digits) != 32 or not all(len(digit) == 1 and digit in "0123456789abcdef" for digit in digits):
            return ""
        return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("".join(reversed(digits))))
    if not name.endswith(".in-addr.arpa"):
        return ""
    parts = name.removesuffix(".in-addr.arpa").split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        return ""
    return ".".join(reversed(parts))


def _labels(data: bytes, offset: int) -> tuple[list[bytes], int]:
    """The labels of a name in a question, which has nothing before it to point to, and where it ends."""
    labels: list[bytes] = []
    start = offset
    while True:
        if offset >= len(data):
            raise FormatError(FORMERR)
        length = data[offset]
        offset += 1
        if length == 0:
            return labels, offset
        if length > _MAX_LABEL or offset + length > len(data) or offset + length - start > _MAX_NAME:
            raise FormatError(FORMERR)
        labels.append(data[offset : offset + length])
        offset += length


def _edns(data: bytes, offset: int, additional: int) -> tuple[bool, int]:
    """Whether the client speaks EDNS, and the size it allows. Only the plain form: one OPT right after the question."""
    if additional < 1 or len(data) < offset + 11 or data[offset] != 0:
        return False, _MIN_SIZE
    kind, size = struct.unpack_from(">HH", data, offset + 1)
    if kind != _OPT:
        return False, _MIN_SIZE
    return True, min(max(size, _MIN_SIZE), _MAX_SIZE)
