"""Progress of pull, push, load and import: one moving line per layer in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TextIO

BAR = 50


def bar(detail: dict[str, Any], width: int) -> str:
    """``[=====>     ]  12.3MB/45.6MB`` for {current, total}; empty when neither is known."""
    current, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
    if current <= 0 and total <= 0:
        return ""
    from rundlet.cli.format.units import human_size

    shown = human_size(current, 4)
    if total <= 0:
        return f"{shown:>8}"
    done = min(BAR, int(current / total * 100) // 2)
    numbers = f"{shown:>8}/{human_size(total, 4)}" if current <= total else f"{shown:>8}"
    return (f"[{'=' * done}>{' ' * (BAR - done)}] " if width > 110 else "") + numbers


def show(
    messages: Iterable[Any], out: TextIO, *, aux: Callable[[Any], None] | None = None, quiet: bool = False
) -> None:
    """Print a progress stream. Raises CommandError when the stream reports a failure."""
    display: Callable[[dict[str, Any]], None]
    if quiet:
        display = _nothing
    elif out.isatty():
        display = _Moving(out).show
    else:
        display = _Plain(out).show
    for message in messages:
        detail = message.get("errorDetail")
        if detail or message.get("error"):
            out.flush()
            raise CommandError(str((detail or {}).get("message") or message["error"]))
        if "aux" in message:
            if aux is not None:
                aux(message["aux"])
            continue
        display(message)


def _nothing(message: dict[str, Any]) -> None:
    """-q."""


class _Plain:
    """Log files and pipes: states, not progress."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, message: dict[str, Any]) -> None:
        if "stream" in message:
            self._out.write(message["stream"])
        elif not bar(message.get("progressDetail") or {}, 200):
            name = message.get("id")
            self._out.write(f"{name}: {message.get('status', '')}\n" if name else f"{message.get('status', '')}\n")
        self._out.flush()


class _Moving:
    """A terminal: each id keeps its line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lines: dict[str, int] = {}

    def show(self, message: dict[str, Any]) -> None:
        name = message.get("id") or ""
        detail = message.get("progressDetail")
        if not name or detail is None:
            # A message without a line of its own ends the block of moving lines above it.
            self._lines = {}
        if "stream" in message:
            self._out.write(message["stream"])
            self._out.flush()
            return
        text = message.get("status", "")
        progress = bar(detail or {}, self._width())
        text = f"{text} {progress}" if progress else text
        if not name or detail is None:
            self._out.write(f"{name}: {text}\n" if name else f"{text}\n")
        else:
            self._moving(name, text)
        self._out.flush()

    def _moving(self, name: str, text: str) -> None:
        if name not in self._lines:
            self._lines[name] = len(self._lines)
            self._out.write(f"{name}: {text}\n")
            return
        up = len(self._lines) - self._lines[name]
        self._out.write(f"\x1b[{up}A\x1b[2K\r{name}: {text}\x1b[{up}B\r")

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._out.fileno()).columns
        except OSError:
            return 80
