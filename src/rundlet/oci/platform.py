"""Platforms: operating system, architecture, variant; their normal forms and which one runs where best.

Aliases and the order of preference are the ones of containerd's platforms package, which Docker uses.
"""

import os
import re
from typing import Final, Self

import msgspec

from rundlet.errors import InvalidParameterError

HOST_SYSTEM: Final = "linux"
_COMPONENT: Final = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_PATTERN: Final = "^[A-Za-z0-9_.-]+$"
_SYSTEM: Final = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?", re.ASCII)
_SYSTEM_PATTERN: Final = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$"
_SYSTEMS: Final = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris windows "
    "zos".split()
)
_ARCHITECTURES: Final = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le mips64p32 "
    "mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_ALIASES: Final = {
    "i386": ("386", ""),
    "i686": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armv8l": ("arm", "v7"),
}
_REDUNDANT: Final = frozenset((("arm64", "8"), ("arm64", "v8"), ("arm64", "v8.0"), ("amd64", "v1")))


class InvalidPlatformError(InvalidParameterError):
    """The text is not a platform specifier."""

    reason = "invalid-platform"

    def __init__(self, specifier: str, why: str) -> None:
        super().__init__(f"{why}: invalid argument")
        self.specifier = specifier


class Platform(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """What an image runs on. Field names as in the OCI image specification."""

    architecture: str
    os: str
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: tuple[str, ...] = msgspec.field(default=(), name="os.features")

    @classmethod
    def parse(cls, specifier: str) -> Self:
        """Read ``os``, ``arch``, ``os/arch`` or ``os/arch/variant``; what is left out is the host's.

        A system may have its version in parentheses.

        Raises InvalidPlatformError with the words Docker uses.
        """
        parts = specifier.split("/")
        found = _SYSTEM.fullmatch(parts[0])
        if found is None:
            raise InvalidPlatformError(
                specifier,
                f'"{parts[0]}" is an invalid OS component of "{specifier}": '
                f'OSAndVersion specifier component must match "{_SYSTEM_PATTERN}"',
            )
        system, version = found[1], found[2] or ""
        for part in parts[1:]:
            if not _COMPONENT.fullmatch(part):
                raise InvalidPlatformError(
                    specifier,
                    f'"{part}" is an invalid component of "{specifier}": '
                    f'platform specifier component must match "{_PATTERN}"',
                )
        if len(parts) > 3:
            raise InvalidPlatformError(specifier, f'"{specifier}": cannot parse platform specifier')
        if len(parts) > 1:
            variant = parts[2] if len(parts) == 3 else ""
            made = cls._normal(_system(system), parts[1], variant)
            return msgspec.structs.replace(made, os_version=version)
        word = specifier.lower()
        if _system(system.lower()) in _SYSTEMS:
            host = cls.host()
            return cls(host.architecture, _system(system.lower()), host.variant, version)
        architecture, _variant = _architecture(word, "")
        if architecture in _ARCHITECTURES:
            return cls._normal("linux", word, "")
        raise InvalidPlatformError(specifier, f'"{specifier}": unknown operating system or architecture')

    @classmethod
    def host(cls) -> Self:
        """What this machine runs natively."""
        return cls._normal("linux", os.uname().machine, "")

    @classmethod
    def _normal(cls, system: str, architecture: str, variant: str) -> Self:
        architecture, variant = _architecture(architecture, variant)
        return cls(architecture, system, variant)

    def normalized(self) -> "Platform":
        """The same platform with aliases (``x86_64``, ``arm64/v8``) in their one normal form."""
        architecture, variant = _architecture(self.architecture, self.variant)
        return Platform(architecture, _system(self.os), variant, self.os_version, self.os_features)

    def matches(self, candidate: "Platform") -> bool:
        """Whether ``candidate`` is exactly this operating system, architecture and variant."""
        mine, theirs = self.normalized(), candidate.normalized()
        return (mine.os, mine.architecture, mine.variant) == (theirs.os, theirs.architecture, theirs.variant)

    def rank(self, candidate: "Platform") -> int | None:
        """How well ``candidate`` runs where this platform is native: 0 is best, None not at all."""
        theirs = candidate.normalized()
        key = (theirs.os, theirs.architecture, theirs.variant)
        for position, choice in enumerate(self._vector()):
            if (choice.os, choice.architecture, choice.variant) == key:
                return position
        return None

    def suits(self, candidate: "Platform") -> bool:
        """Whether what is for ``candidate`` will do where this platform was asked for."""
        return self.rank(candidate) is not None

    def runs_on(self, host: "Platform") -> bool:
        """Whether programs for this platform are likely to run there natively; true where it names none.

        A level of amd64 counts as running: which ones a processor has is not looked up.
        """
        mine = self.normalized()
        if not mine.os or not mine.architecture:
            return True
        return host.suits(Platform("amd64", mine.os) if mine.architecture == "amd64" else self)

    def _vector(self) -> list["Platform"]:
        mine = self.normalized()
        choices = [mine]
        if mine.architecture == "amd64":
            level = int(mine.variant[1:]) if mine.variant[1:].isdigit() else 1
            choices += [Platform("amd64", mine.os, f"v{n}" if n > 1 else "") for n in range(level - 1, 0, -1)]
            choices.append(Platform("386", mine.os))
        elif mine.architecture == "arm":
            level = int(mine.variant[1:]) if mine.variant[1:].isdigit() else 7
            choices += [Platform("arm", mine.os, f"v{n}") for n in range(level - 1, 4, -1)]
        elif mine.architecture == "arm64":
            if mine.variant:
                choices.append(Platform("arm64", mine.os))
            choices += [Platform("arm", mine.os, f"v{n}") for n in range(8, 4, -1)]
        return choices

    def __str__(self) -> str:
        """``linux/arm64/v9`` as Docker prints it."""
        parts = [self.os or "unknown", self.architecture or "unknown"]
        if self.variant:
            parts.append(self.variant)
        return "/".join(parts)


def _system(name: str) -> str:
    name = name.lower()
    return "darwin" if name == "macos" else name


def _architecture(name: str, variant: str) -> tuple[str, str]:
    name, variant = name.lower(), variant.lower()
    if name in _ALIASES:
        name, implied = _ALIASES[name]
        variant = implied or variant
    if (name, variant) in _REDUNDANT:
        variant = ""
    elif name == "arm":
        variant = "v7" if not variant else (f"v{variant}" if variant in ("5", "6", "7", "8") else variant)
    return name, variant
