"""What the session of a BuildKit client offers: files, credentials, secrets, agents. As in ``api.buildkit``."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated

from rundlet.api.protobuf import Message


class BytesMessage(Message, frozen=True):
    data: Annotated[bytes, 1] = b""


class PacketType(IntEnum):
    STAT = 0
    REQUEST = 1
    DATA = 2
    FINISH = 3
    ERROR = 4


class FileStat(Message, frozen=True):
    """A file. ``mode`` has the bits of Go's ``os.FileMode``; ``modified`` in nanoseconds; ``link`` of a regular file is
    the earlier one that it is a hard link to."""

    path: Annotated[str, 1] = ""
    mode: Annotated[int, 2] = 0
    uid: Annotated[int, 3] = 0
    gid: Annotated[int, 4] = 0
    size: Annotated[int, 5] = 0
    modified: Annotated[int, 6] = 0
    link: Annotated[str, 7] = ""
    major: Annotated[int, 8] = 0
    minor: Annotated[int, 9] = 0
    xattrs: Annotated[Mapping[str, bytes], 10] = {}


class StatFileRequest(Message, frozen=True):
    ref: Annotated[str, 1] = ""
    path: Annotated[str, 2] = ""


class StatFileResponse(Message, frozen=True):
    stat: Annotated[FileStat | None, 1] = None


class Packet(Message, frozen=True):
    type: Annotated[int, 1] = 0
    stat: Annotated[FileStat | None, 2] = None
    id: Annotated[int, 3] = 0
    data: Annotated[bytes, 4] = b""


class CredentialsRequest(Message, frozen=True):
    host: Annotated[str, 1] = ""


class CredentialsResponse(Message, frozen=True):
    username: Annotated[str, 1] = ""
    secret: Annotated[str, 2] = ""


class SecretRequest(Message, frozen=True):
    id: Annotated[str, 1] = ""


class SecretResponse(Message, frozen=True):
    data: Annotated[bytes, 1] = b""


class AgentRequest(Message, frozen=True):
    id: Annotated[str, 1] = ""
