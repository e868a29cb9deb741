"""What calls give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Result:
    """A command that has ended. ``code``: its exit status, 128 + the signal where one ended it."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, without the end of its last line."""
        return self.stdout.decode(errors="replace").removesuffix("\n")


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of output; ``stream`` is ``"stdout"`` or ``"stderr"``."""

    stream: str
    data: bytes

    @property
    def text(self) -> str:
        return self.data.decode(errors="replace")


def collected(pieces: Iterable[Output]) -> tuple[bytes, bytes]:
    """(standard output, standard error), whole."""
    out = {"stdout": bytearray(), "stderr": bytearray()}
    for piece in pieces:
        out[piece.stream] += piece.data
    return bytes(out["stdout"]), bytes(out["stderr"])


@dataclass(frozen=True, slots=True)
class Image:
    """``id`` is a digest, ``tags`` the names it goes by, ``size`` in bytes."""

    id: str
    tags: tuple[str, ...]
    size: int
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """``engine`` is Rundlet's (or Docker's) version, ``api`` the newest version of the Engine API that it speaks."""

    engine: str
    api: str
    kernel: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened: ``action`` to an object of ``kind`` (container, image, network, volume …) at ``time_ns``."""

    kind: str
    action: str
    id: str
    attributes: dict[str, str]
    time_ns: int

    @classmethod
    def of(cls, message: dict[str, Any]) -> Event:
        actor = message.get("Actor") or {}
        return cls(
            str(message.get("Type", "")),
            str(message.get("Action", "")),
            str(actor.get("ID", "")),
            dict(actor.get("Attributes") or {}),
            int(message.get("timeNano", 0)),
        )
