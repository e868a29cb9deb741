"""How the engine's process behaves: logging, signals, and the word to whoever started it."""

import asyncio
import errno
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from rundlet.daemon.errors import FlagError
from rundlet.errors import RundletError

_log = logging.getLogger(__name__)
MISUSED: Final = 125
"""The exit status for a wrong command line, Docker's."""

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
_NAMES = {number: name for name, number in _LEVELS.items()} | {logging.WARNING: "warning"}
_TIME = "%Y-%m-%dT%H:%M:%SZ"


class _Text(logging.Formatter):
    """One line an event, whatever is in it: names that clients make up must not look like lines of their own."""

    def format(self, record: logging.LogRecord) -> str:
        level = _NAMES.get(record.levelno, record.levelname.lower())
        line = f'time="{self.formatTime(record, _TIME)}" level={level} msg={json.dumps(record.getMessage())}'
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(logging.Formatter):
    """One object an event, with dockerd's keys."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "level": _NAMES.get(record.levelno, record.levelname.lower()),
            "msg": record.getMessage(),
            "time": self.formatTime(record, _TIME),
        }
        if record.exc_info:
            said["error"] = self.formatException(record.exc_info)
        return json.dumps(said)


def set_up_logging(level: str, kind: str = "text") -> None:
    """One line an event on standard error, times in UTC. ``kind``: ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = _Json() if kind == "json" else _Text()
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """What is logged from now on: Docker's word for it."""
    logging.getLogger().setLevel(_LEVELS[level])


def on_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What went wrong in the event loop where nobody waits for it: one line for what the machine lacks."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        _log.warning("%s: new clients have to wait", error)
    else:
        loop.default_exception_handler(context)


def on_stop(loop_add: Callable[[int, Callable[[], None]], None], stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT end the engine cleanly; containers run on."""
    for number in (signal.SIGTERM, signal.SIGINT):
        loop_add(number, stop)


def tell(fd: int, text: str) -> None:
    """Write one line to whoever started the engine, and close; a no-op for -1."""
    if fd < 0:
        return
    try:
        os.write(fd, text.encode() + b"\n")
    except OSError:
        pass  # the starter gave up waiting
    finally:
        os.close(fd)


def give_up(error: RundletError | OSError, ready_fd: int, *, looking: bool = False) -> int:
    """Say on standard error, and to whoever started the engine, why there is none. Returns the exit status.

    ``looking``: none was to be, its settings were only looked through.
    """
    misused = isinstance(error, FlagError)
    what = "" if looking else "failed to start daemon: "  # dockerd's words, which scripts look for
    print(error if misused else f"rundlet: {what}{error}", file=sys.stderr)
    tell(ready_fd, f"error: {error}")
    return MISUSED if misused else 1


def write_pidfile(path: str) -> None:
    from rundlet.util import fs

    if path:
        fs.write_atomic(path, b"%d\n" % os.getpid(), mode=0o644, durable=False)


def remove_pidfile(path: str) -> None:
    if not path:
        return
    try:
        with open(path) as file:
            ours = file.read().strip() == str(os.getpid())
        if ours:
            os.unlink(path)
    except OSError:
        return


def allow_descriptors() -> None:
    """As many open files as the hard limit allows: a shell's soft one is for programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
