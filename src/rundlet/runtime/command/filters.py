"""Compiled seccomp programs, kept below ``--root``: compiling one takes longer than all the rest of a ``create``."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from rundlet import __version__
from rundlet.runtime.command.errors import CommandError

DIRECTORY: Final = ".seccomp"


def program(root: str, config: Mapping[str, Any] | None, process: Mapping[str, Any]) -> bytes:
    """The program for ``linux.seccomp`` (None: no filter). Raises: CommandError."""
    if not config or (config.get("defaultAction") == "SCMP_ACT_ALLOW" and not config.get("syscalls")):
        return b""
    bounding = sorted((process.get("capabilities") or {}).get("bounding") or ())
    key = json.dumps([config, bounding, os.uname().machine, os.uname().release, __version__], sort_keys=True)
    path = f"{root}/{DIRECTORY}/{hashlib.sha256(key.encode()).hexdigest()[:32]}.bpf"
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        pass
    return _compile(config, frozenset(bounding), path)


def _compile(config: Mapping[str, Any], capabilities: frozenset[str], path: str) -> bytes:
    from rundlet.errors import RundletError
    from rundlet.linux.seccomp import compiler

    try:
        made = compiler.compile_custom(config, capabilities, listening=True)
    except RundletError as exc:
        raise CommandError(f"seccomp: {exc}") from exc
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(made)
    os.rename(temporary, path)
    return made
