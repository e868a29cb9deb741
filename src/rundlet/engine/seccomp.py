"""Compiled seccomp programs, kept: a profile is compiled once for its capabilities, architecture and kernel."""

import hashlib
import os
from typing import Any

import msgspec

from rundlet import __version__
from rundlet.engine import machine
from rundlet.linux.seccomp import compiler
from rundlet.util import fs


class SeccompCache:
    """Programs as files below ``directory``, named by everything that they depend on."""

    def __init__(self, directory: str) -> None:
        self._directory = f"{directory}/seccomp"
        self._known: dict[str, str] = {}

    def path(self, capabilities: frozenset[str], profile: dict[str, Any] | None) -> str:
        """The file that holds the program. Raises SeccompProfileError (400) for a profile that makes no sense."""
        key = self._key(capabilities, profile)
        known = self._known.get(key)
        if known is not None:
            return known
        path = f"{self._directory}/{key}.bpf"
        if not os.path.exists(path):
            os.makedirs(self._directory, 0o700, exist_ok=True)
            if profile is None:
                program = compiler.compile_profile(capabilities)
            else:
                program = compiler.compile_custom(profile, capabilities)
            fs.write_atomic(path, program, durable=False)
        self._known[key] = path
        return path

    def oci(self, capabilities: frozenset[str], profile: dict[str, Any] | None) -> dict[str, Any]:
        """The same as ``linux.seccomp``, for a runtime that compiles by itself."""
        if profile is None:
            return compiler.oci_profile(capabilities)
        return compiler.custom_to_oci(profile, capabilities)

    def _key(self, capabilities: frozenset[str], profile: dict[str, Any] | None) -> str:
        parts = (
            ",".join(sorted(capabilities)),
            machine.architecture(),
            machine.kernel(),
            __version__,
            str(compiler.VERSION),
            msgspec.json.encode(profile).decode() if profile is not None else "default",
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
