"""-e, --env-file, -l, --label-file: lists of KEY=value."""

from __future__ import annotations

import os

from rundlet.cli.exit import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

WHITESPACE = " \t"


def _read_lines(path: str, *, lookup: bool) -> list[str]:
    """The KEY=value lines of a file; with ``lookup``, a bare KEY takes its value from this process. Raises RunError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except IsADirectoryError as exc:
        raise RunError(f"invalid env file ({path}): read {path}: is a directory") from exc
    except OSError as exc:
        raise RunError(f"open {path}: {(exc.strerror or str(exc)).lower()}") from exc
    out = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as exc:
            raise RunError(f"invalid env file ({path}): invalid utf8 bytes at line {number}") from exc
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.lstrip(WHITESPACE)
        if any(blank in name for blank in WHITESPACE):
            raise RunError(f"invalid env file ({path}): variable '{name}' contains whitespaces")
        if not name:
            raise RunError(f"invalid env file ({path}): no variable name on line '{line}'")
        if equals:
            out.append(f"{name}={value}")
        elif not lookup:
            out.append(name)
        elif name in os.environ:
            out.append(f"{name}={os.environ[name]}")
    return out


def environment(variables: Iterable[str], files: Iterable[str]) -> list[str]:
    """Variables for a container: files first. A bare KEY takes this process's value; unset here, it is sent bare and
    the engine removes it. Raises RunError."""
    out: list[str] = []
    for path in files:
        out += _read_lines(path, lookup=True)
    for text in variables:
        name, equals, _ = text.partition("=")
        out.append(f"{text}={os.environ[name]}" if not equals and name in os.environ else text)
    return out


def labels(pairs: Iterable[str], files: Iterable[str] = ()) -> dict[str, str]:
    """Labels, files first. Raises RunError."""
    lines: list[str] = []
    for path in files:
        lines += _read_lines(path, lookup=False)
    out: dict[str, str] = {}
    for text in (*lines, *pairs):
        name, _, value = text.partition("=")
        out[name] = value
    return out
