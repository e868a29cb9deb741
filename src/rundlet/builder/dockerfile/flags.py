"""Flags of instructions: ``--name``, ``--name=value``."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from rundlet.builder.dockerfile.errors import InstructionError
from rundlet.builder.dockerfile.suggest import did_you_mean

Kind = Literal["bool", "string", "strings"]

_TRANSFER: Final[dict[str, Kind]] = {
    "chown": "string",
    "chmod": "string",
    "link": "bool",
    "exclude": "strings",
}
FLAGS: Final[dict[str, dict[str, Kind]]] = {
    "from": {"platform": "string"},
    "copy": {**_TRANSFER, "from": "string", "parents": "bool"},
    "add": {**_TRANSFER, "checksum": "string", "keep-git-dir": "bool", "unpack": "bool"},
    "run": {"mount": "strings", "network": "string", "security": "string", "device": "strings"},
    "healthcheck": {
        "interval": "string",
        "timeout": "string",
        "start-period": "string",
        "start-interval": "string",
        "retries": "string",
    },
}
"""Which flags an instruction has; those not named have none."""


class Flags:
    """The flags of one instruction, checked. Raises InstructionError with Docker's words."""

    def __init__(self, keyword: str, words: Iterable[str]) -> None:
        known: Mapping[str, Kind] = FLAGS.get(keyword, {})
        self._values: dict[str, list[str]] = {}
        for word in words:
            shown, equals, value = word.partition("=")
            name = shown[2:]
            kind = known.get(name)
            if kind is None:
                raise InstructionError(f"unknown flag: {shown}{did_you_mean(name, known)}")
            if name in self._values and kind != "strings":
                raise InstructionError(f"duplicate flag specified: {shown}")
            self._values.setdefault(name, []).append(_checked(kind, shown, equals, value))

    def text(self, name: str) -> str:
        """A flag's value; empty when it is not given."""
        return self._values.get(name, [""])[0]

    def boolean(self, name: str) -> bool | None:
        """A switch; None when it is not given."""
        values = self._values.get(name)
        return None if values is None else values[0] == "true"

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a flag that may be repeated."""
        return tuple(self._values.get(name, ()))


def _checked(kind: Kind, shown: str, equals: str, value: str) -> str:
    if kind == "bool":
        if equals and not value:
            raise InstructionError(f"missing a value on flag: {shown}")
        lowered = value.lower() or "true"
        if lowered not in ("true", "false"):
            raise InstructionError(f"expecting boolean value for flag {shown}, not: {value}")
        return lowered
    if not equals:
        raise InstructionError(f"missing a value on flag: {shown}")
    return value
