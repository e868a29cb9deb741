"""Calls over D-Bus by hand: what a service manager is asked, over a bus or its own socket.

Values are written and read by their signature: numbers, strings, ``b"…"`` for ``ay``, lists, tuples for structures and
:class:`Variant`. Standard library only: those who start containers use it, too.

See: the D-Bus specification, "Marshaling (Wire Format)", "Message Protocol", "Authentication Protocol".
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

_CALL, _RETURN, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIXED: Final = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}
_ALIGNED: Final = {"s": 4, "o": 4, "a": 4, "(": 8, "{": 8, "g": 1, "v": 1}
_LARGEST: Final = 1 << 26  # bytes of a message, half of what the specification allows
_BUS: Final = "org.freedesktop.DBus"
_BUS_PATH: Final = "/org/freedesktop/DBus"


class Variant(NamedTuple):
    """A value that brings its signature along."""

    signature: str
    value: Any


class BusError(ValueError):
    """The answer was an error: ``name`` is D-Bus's, the text is for people."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class Message(NamedTuple):
    """What came: ``kind`` as on the wire; ``body`` the values."""

    kind: int
    member: str
    error: str
    reply_to: int
    body: tuple[Any, ...]


class Connection:
    """One connection, used by one thread; a context manager."""

    def __init__(self, path: str, *, bus: bool, timeout: float) -> None:
        """``bus``: others are behind it, and it wants to be greeted. ``timeout`` is in seconds, for each answer.

        Raises: OSError, BusError.
        """
        self._serial = 0
        self._data = b""
        self._bus = bus
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._authenticate()
            if bus:
                self.call(_BUS, _BUS_PATH, _BUS, "Hello")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_exc: object) -> None:
        self._socket.close()

    def listen(self, rule: str) -> None:
        """Have a bus send the signals that match. Raises: OSError, BusError."""
        if self._bus:
            self.call(_BUS, _BUS_PATH, _BUS, "AddMatch", "s", rule)

    def call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *values: object
    ) -> tuple[Any, ...]:
        """The values of the answer. Raises: OSError, BusError."""
        serial = self.send(destination, path, interface, member, signature, *values)
        return self.wait(lambda message: message.reply_to == serial)

    def send(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *values: object
    ) -> int:
        """Returns the number that the answer refers to. Raises: OSError."""
        self._serial += 1
        fields = [(_PATH, Variant("o", path)), (_INTERFACE, Variant("s", interface)), (_MEMBER, Variant("s", member))]
        if self._bus:
            fields.append((_DESTINATION, Variant("s", destination)))
        if signature:
            fields.append((_SIGNATURE, Variant("g", signature)))
        body = marshal(signature, values)
        head = marshal("yyyyuua(yv)", (ord("l"), _CALL, 0, 1, len(body), self._serial, fields))
        self._socket.sendall(_padded(head, 8) + body)
        return self._serial

    def wait(self, wanted: Callable[[Message], bool]) -> tuple[Any, ...]:
        """The values of the first message that is wanted; others are passed over. Raises: OSError, BusError."""
        while True:
            message = self._receive()
            if not wanted(message):
                continue
            if message.kind == _ERROR:
                raise BusError(message.error, str(message.body[0]) if message.body else "")
            return message.body

    def _authenticate(self) -> None:
        # Without a name: who we are is what the kernel says, whatever our user is called in our user namespace. All in
        # one: what comes together with BEGIN, systemd looks at only when more comes, so that must be no message.
        self._socket.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        line = self._line()
        while line.startswith(b"DATA"):
            line = self._line()
        if not line.startswith(b"OK"):
            raise OSError(errno.EACCES, f"D-Bus: {line.decode('utf-8', 'replace')}")

    def _line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._read(len(self._data) + 1)
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def _receive(self) -> Message:
        self._read(16)
        order = "<" if self._data[:1] == b"l" else ">"
        size, _, fields = struct.unpack_from(f"{order}III", self._data, 4)
        start = 16 + fields + -fields % 8
        if start + size > _LARGEST:
            raise OSError(errno.EMSGSIZE, "D-Bus: a message that is too large")
        self._read(start + size)
        data, self._data = self._data[: start + size], self._data[start + size :]
        head = unmarshal("yyyyuua(yv)", data[:start], order)
        found = {number: variant.value for number, variant in head[6]}
        body = unmarshal(found.get(_SIGNATURE, ""), data[start:], order)
        return Message(head[1], found.get(_MEMBER, ""), found.get(_ERROR_NAME, ""), found.get(_REPLY, 0), body)

    def _read(self, size: int) -> None:
        while len(self._data) < size:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                raise OSError(errno.ETIMEDOUT, "D-Bus: no answer") from None
            if not data:
                raise OSError(errno.ECONNRESET, "D-Bus: the connection was closed")
            self._data += data


def is_signal(message: Message, member: str) -> bool:
    return message.kind == _SIGNAL and message.member == member


def marshal(signature: str, values: Sequence[Any]) -> bytes:
    """The values, little-endian. Raises: ValueError, struct.error for what doesn't fit the signature."""
    out = bytearray()
    for kind, value in zip(split(signature), values, strict=True):
        _write(out, kind, value)
    return bytes(out)


def unmarshal(signature: str, data: bytes, order: str = "<") -> tuple[Any, ...]:
    """The values in ``data``. Raises: ValueError, struct.error."""
    reader = _Reader(data, order)
    return tuple(reader.read(kind) for kind in split(signature))


def split(signature: str) -> list[str]:
    """The complete types that it consists of. Raises: ValueError."""
    found: list[str] = []
    position = 0
    while position < len(signature):
        end = _end(signature, position)
        found.append(signature[position:end])
        position = end
    return found


def _end(signature: str, start: int) -> int:
    """Where the complete type that begins at ``start`` ends."""
    kind = signature[start : start + 1]
    if kind == "a":
        return _end(signature, start + 1)
    if kind in ("(", "{"):
        close, position = (")" if kind == "(" else "}"), start + 1
        while signature[position : position + 1] != close:
            position = _end(signature, position)
        return position + 1
    if not kind or (kind not in _FIXED and kind not in "sogv"):
        raise ValueError(f"invalid D-Bus signature {signature!r}")
    return start + 1


def _alignment(kind: str) -> int:
    return _ALIGNED.get(kind[0]) or struct.calcsize(_FIXED[kind[0]])


def _padded(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


def _write(out: bytearray, kind: str, value: Any) -> None:
    out += bytes(-len(out) % _alignment(kind))
    first = kind[0]
    if first in _FIXED:
        out += struct.pack(f"<{_FIXED[first]}", value)
    elif first in "sog":
        data = value.encode()
        out += struct.pack("<B" if first == "g" else "<I", len(data)) + data + b"\0"
    elif first == "v":
        _write(out, "g", value.signature)
        _write(out, value.signature, value.value)
    elif first == "a":
        _write_array(out, kind[1:], value)
    else:
        for part, item in zip(split(kind[1:-1]), value, strict=True):
            _write(out, part, item)


def _write_array(out: bytearray, kind: str, value: Sequence[Any]) -> None:
    place = len(out)
    out += bytes(4)
    out += bytes(-len(out) % _alignment(kind))
    start = len(out)
    if kind == "y":
        out += bytes(value)
    else:
        for item in value:
            _write(out, kind, item)
    struct.pack_into("<I", out, place, len(out) - start)


class _Reader:
    def __init__(self, data: bytes, order: str) -> None:
        self._data = data
        self._order = order
        self._position = 0

    def read(self, kind: str) -> Any:
        self._align(_alignment(kind))
        first = kind[0]
        if first in _FIXED:
            number = self._number(_FIXED[first])
            return bool(number) if first == "b" else number
        if first in "sog":
            return os.fsdecode(self._bytes(self._number("B" if first == "g" else "I"), ending=1))
        if first == "v":
            signature = str(self.read("g"))
            if len(split(signature)) != 1:
                raise ValueError(f"invalid D-Bus variant {signature!r}")
            return Variant(signature, self.read(signature))
        if first == "a":
            return self._array(kind[1:])
        return tuple(self.read(part) for part in split(kind[1:-1]))

    def _array(self, kind: str) -> Any:
        size = self._number("I")
        self._align(_alignment(kind))
        if kind == "y":
            return self._bytes(size)
        end, found = self._position + size, []
        while self._position < end:
            found.append(self.read(kind))
        return found

    def _align(self, alignment: int) -> None:
        self._position += -self._position % alignment

    def _number(self, letter: str) -> Any:
        (value,) = struct.unpack_from(f"{self._order}{letter}", self._data, self._position)
        self._position += struct.calcsize(letter)
        return value

    def _bytes(self, size: int, ending: int = 0) -> bytes:
        start, self._position = self._position, self._position + size + ending
        if self._position > len(self._data):
            raise ValueError("a D-Bus value that is cut off")
        return self._data[start : start + size]
