"""The messages between engine, launcher and shim. Standard library only; the versions here are frozen once released.

Every socket is SOCK_SEQPACKET: one packet is one message, with its descriptors. Packets that were cut short, or carry
more descriptors than announced, are errors, never half understood.

- Launcher: packets of a fixed size (:class:`Order`): kind, sequence number, value, identifier.
- Shim: JSON objects of at most ``MAX_MESSAGE`` bytes. A request is ``{"op": …, "seq": n, …}``, its answer has the same
  ``seq`` and ``"ok"`` or ``"error": {"step", "errno", "message"}``; what has ``"event"`` was not asked for. A request
  that is longer than a packet is in a memory file, the packet's last descriptor: the packet says ``"long": true``.
"""

import array
import json
import os
import socket
import struct
from typing import Any, Final, NamedTuple

SHIM_VERSION: Final = 1
LAUNCHER_VERSION: Final = 1
SPEC_VERSION: Final = 1
MAX_MESSAGE: Final = 65536
MAX_LONG_MESSAGE: Final = 16 << 20  # of a request that comes in a memory file, as an exec with a large environment
MAX_FDS: Final = 128
# As plain numbers: operators of enumerations are Python functions, whose memory each shim would touch.
_TOO_LONG: Final = int(socket.MSG_TRUNC)
_CUT: Final = _TOO_LONG | int(socket.MSG_CTRUNC)
_json: Final = json.JSONEncoder(separators=(",", ":")).encode

Message = dict[str, Any]

# Kinds of launcher packets; the engine's are requests, the launcher's answer or report.
HELLO: Final = 1  # value: version of the sender
SHIM: Final = 2  # two descriptors: the spec (a memory file) and the shim's end of the control socket
WORKER: Final = 3  # identifier: the kind of worker; its descriptors
STARTED: Final = 4  # value: process number
ENDED: Final = 5  # value: exit code, negative: the signal
KILL: Final = 6  # value: process number of a worker
BYE: Final = 7  # the engine ends on purpose
FAILED: Final = 8  # value: errno

_ORDER: Final = struct.Struct("=IIq64s")


class ProtocolError(Exception):
    """The peer sent something that is no message."""


class DescriptorsLostError(ProtocolError):
    """A whole packet, but there was no room for its descriptors: this process has too many open."""

    def __init__(self, data: bytes) -> None:
        super().__init__("too many open files")
        self.data = data


class Order(NamedTuple):
    """One packet to or from the launcher."""

    kind: int
    seq: int = 0
    value: int = 0
    name: str = ""

    def encode(self) -> bytes:
        return _ORDER.pack(self.kind, self.seq, self.value, self.name.encode())

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """Raises: ProtocolError."""
        if len(data) != _ORDER.size:
            raise ProtocolError(f"launcher packet of {len(data)} bytes")
        kind, seq, value, name = _ORDER.unpack(data)
        try:
            return cls(kind, seq, value, name.rstrip(b"\0").decode("ascii"))
        except UnicodeDecodeError as exc:
            raise ProtocolError("launcher packet with a bad name") from exc


def pack_spec(spec: Message) -> bytes:
    """What the shim's memory file holds: the length of a summary in hexadecimal, the summary, the whole spec.

    The shim keeps to the summary for its life; only what sets the container up, and then ends, reads the whole. That
    saves each container half a megabyte, and keeps its environment's secrets out of the shim.
    """
    oci = spec["oci"]
    linux = oci.get("linux") or {}
    own = {key: value for key, value in spec.items() if key not in ("oci", "rootfs")}
    own["facts"] = {
        "program": (oci["process"].get("args") or [""])[0],
        "private_pids": any(
            entry["type"] == "pid" and not entry.get("path") for entry in linux.get("namespaces") or ()
        ),
        "linux": {key: linux[key] for key in ("uidMappings", "gidMappings") if linux.get(key)},
        "memory_limit": ((linux.get("resources") or {}).get("memory") or {}).get("limit") or 0,
    }
    summary = _json(own).encode()
    return b"%08x" % len(summary) + summary + _json(spec).encode()


def read_summary(fd: int) -> Message:
    """Raises: ProtocolError, OSError."""
    message = decode(os.pread(fd, int(os.pread(fd, 8, 0), 16), 8))
    if message.get("version") != SPEC_VERSION:
        raise ProtocolError(f"spec version {message.get('version')} is not {SPEC_VERSION}")
    return message


def read_spec(fd: int) -> Message:
    """The whole. Raises: ProtocolError, OSError."""
    start = 8 + int(os.pread(fd, 8, 0), 16)
    return decode(os.pread(fd, os.fstat(fd).st_size - start, start))


def encode(message: Message) -> bytes:
    """Raises: ProtocolError when the message is longer than a packet may be."""
    data = _json(message).encode()
    if len(data) > MAX_MESSAGE:
        raise ProtocolError(f"message of {len(data)} bytes is longer than {MAX_MESSAGE}")
    return data


def encode_request(message: Message) -> tuple[bytes, int]:
    """The packet for a request, and the memory file that goes with it (-1: it fits in the packet).

    Raises: ProtocolError when the message is longer than any request may be; OSError.
    """
    data = _json(message).encode()
    if len(data) <= MAX_MESSAGE:
        return data, -1
    if len(data) > MAX_LONG_MESSAGE:
        raise ProtocolError(f"message of {len(data)} bytes is longer than {MAX_LONG_MESSAGE}")
    memory = os.memfd_create("request", os.MFD_CLOEXEC)
    with open(memory, "wb", closefd=False) as file:
        file.write(data)
    return encode({"op": message["op"], "seq": message["seq"], "long": True}), memory


def decode_request(data: bytes, fds: list[int]) -> Message:
    """Takes the memory file of a long request out of ``fds``. Raises: ProtocolError, OSError."""
    message = decode(data)
    if message.get("long"):
        if not fds:
            raise ProtocolError("a long request without its descriptor")
        with open(fds.pop(), "rb") as file:
            file.seek(0)
            message = decode(file.read(MAX_LONG_MESSAGE))
    return message


def decode(data: bytes) -> Message:
    """Raises: ProtocolError."""
    try:
        message = json.loads(data.decode())  # given bytes it looks at the encoding first, in Python
    except ValueError as exc:
        raise ProtocolError(f"not JSON: {exc}") from exc
    if not isinstance(message, dict):
        raise ProtocolError("not an object")
    return message


def send_packet(sock: socket.socket, data: bytes, fds: "tuple[int, ...] | list[int]" = ()) -> None:
    """One packet with its descriptors. Raises: OSError; BlockingIOError when a non-blocking socket is full."""
    if not fds:
        sock.send(data, socket.MSG_NOSIGNAL)
        return
    rights = array.array("i", fds).tobytes()
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_NOSIGNAL)


def receive_packet(sock: socket.socket, size: int = MAX_MESSAGE) -> tuple[bytes, list[int]]:
    """The next packet and its descriptors (close-on-exec); ``(b"", [])`` at the end.

    Raises: OSError; ProtocolError for a packet that was cut, DescriptorsLostError where only descriptors are missing
    (those that came are closed).
    """
    data, ancillary, flags, _ = sock.recvmsg(size + 1, socket.CMSG_SPACE(MAX_FDS * 4), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers = array.array("i")
            numbers.frombytes(payload[: len(payload) - len(payload) % numbers.itemsize])
            fds.extend(numbers)
    if flags & _CUT or len(data) > size:
        close_all(fds)
        if flags & _TOO_LONG or len(data) > size:
            raise ProtocolError("packet too long")
        raise DescriptorsLostError(data)
    return data, fds


def close_all(fds: "tuple[int, ...] | list[int]") -> None:
    for fd in fds:
        os.close(fd)


def peer_is(sock: socket.socket, uid: int) -> bool:
    """Whether the process at the other end of a unix socket runs as ``uid`` (or as root)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
    peer: int = struct.unpack("=3i", credentials)[1]
    return peer in (uid, 0)
