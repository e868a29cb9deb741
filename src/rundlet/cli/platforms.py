"""``--platform``: ``os``, ``arch``, ``os/arch`` or ``os/arch/variant``, as the API has it.

What is no platform is refused here, in the words of the engine (``oci/platform``), before anything is asked.
"""

from __future__ import annotations

import os
import re

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SYSTEM = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?", re.ASCII)
_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_SYSTEM_PATTERN = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$"
_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux macos nacl netbsd openbsd plan9 solaris windows "
    "zos".split()
)
_ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 "
    "mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm i386 i686 x86_64 x86-64 aarch64 armhf armel armv7l "
    "armv6l armv8l".split()
)


def platform_json(text: str, prefix: str = "") -> str:
    """``linux/arm64/v8`` as the API's platform parameter. ``prefix``: before what is wrong. Raises CommandError."""
    from rundlet.client.wire import dumps

    return dumps(_parsed(text, prefix))


def platforms_json(texts: str | Iterable[str], prefix: str = "") -> list[str]:
    """One or several. Raises CommandError."""
    return [platform_json(text, prefix) for text in ([texts] if isinstance(texts, str) else texts)]


def _parsed(text: str, prefix: str) -> dict[str, str]:
    def wrong(why: str) -> CommandError:
        return CommandError(f"{prefix}{why}: invalid argument")

    system, *others = text.split("/")
    found = _SYSTEM.fullmatch(system)
    if found is None:
        rule = f'OSAndVersion specifier component must match "{_SYSTEM_PATTERN}"'
        raise wrong(f'"{system}" is an invalid OS component of "{text}": {rule}')
    for part in others:
        if not _COMPONENT.fullmatch(part):
            rule = 'platform specifier component must match "^[A-Za-z0-9_.-]+$"'
            raise wrong(f'"{part}" is an invalid component of "{text}": {rule}')
    if len(others) > 2:
        raise wrong(f'"{text}": cannot parse platform specifier')
    if not others:
        if found[1].lower() in _SYSTEMS:
            others = [os.uname().machine]
        elif text.lower() in _ARCHITECTURES:
            return {"os": "linux", "architecture": text}
        else:
            raise wrong(f'"{text}": unknown operating system or architecture')
    made = {"os": found[1], **dict(zip(("architecture", "variant"), others, strict=False))}
    return made | {"os.version": found[2]} if found[2] else made
