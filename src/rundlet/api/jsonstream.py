"""Progress of pull, push, import, load: one JSON object a line, as Docker's ``jsonmessage``."""

from typing import Any

import msgspec
from msgspec import field

from rundlet.api.base import LowerWire, always

_BAR = 50
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


class ProgressDetail(LowerWire, frozen=True):
    """Bytes done and to do; both 0 is the empty object."""

    current: int = 0
    total: int = 0


class ErrorDetail(LowerWire, frozen=True):
    code: int = 0
    message: str = always("")


class JSONMessage(LowerWire, frozen=True):
    """One line. ``progress`` is the bar as text, for clients that don't draw their own."""

    stream: str = ""
    status: str = ""
    progress_detail: ProgressDetail | None = field(name="progressDetail", default=None)
    progress: str = ""
    id: str = ""
    error_detail: ErrorDetail | None = field(name="errorDetail", default=None)
    error: str = ""
    aux: Any = None


_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """The line, with the CR LF that Docker ends it with."""
    return _encoder.encode(message) + b"\r\n"


def status(text: str, id: str = "") -> JSONMessage:
    """A line of text, about the layer ``id`` when given."""
    return JSONMessage(status=text, id=id)


def progress(action: str, id: str, current: int = 0, total: int = 0) -> JSONMessage:
    """The state of one layer: ``Downloading``, with bytes done and to do (0 when unknown)."""
    return JSONMessage(
        status=action, id=id, progress_detail=ProgressDetail(current=current, total=total), progress=bar(current, total)
    )


def stream(text: str) -> JSONMessage:
    """Text that a client prints as it is."""
    return JSONMessage(stream=text)


def aux(value: Any) -> JSONMessage:
    """Data for programs: the digest of a push, the ID of a build."""
    return JSONMessage(aux=value)


def failure(message: str, code: int = 0) -> JSONMessage:
    """The last line of a stream that failed after it had begun."""
    return JSONMessage(error_detail=ErrorDetail(code=code, message=message), error=message)


def bar(current: int, total: int) -> str:
    """``[====>     ]  1.2MB/4.1MB`` as Docker draws it; empty when nothing is known."""
    if current <= 0 and total <= 0:
        return ""
    if total <= 0:
        return f"{human_size(current):>8}"
    filled = min(int(current / total * 100) // 2, _BAR)
    numbers = f"{human_size(current):>8}" if current > total else f"{human_size(current):>8}/{human_size(total)}"
    return f"[{'=' * filled}>{' ' * (_BAR - filled)}] {numbers}"


def human_size(size: float) -> str:
    """Four significant digits in powers of 1000, as Go's ``units.HumanSize``: ``1.234MB``."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.4g}{_UNITS[unit]}"
