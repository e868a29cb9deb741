"""The command line: Go's flags as runc's users write them, ``--name value``, ``--name=value``, ``-n value``.

Where a command follows, as that of an exec, options end at the first word that is none.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rundlet.runtime.command.errors import RefusedError, UsageError

_TRUE: Final = frozenset({"", "1", "t", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "false", "FALSE", "False"})


class Flag(NamedTuple):
    """``kind``: bool, value, list or refused."""

    name: str
    kind: str = "value"
    short: str = ""
    help: str = ""


class Arguments:
    """Options by their long names, and the words behind them."""

    def __init__(self, values: Mapping[str, list[str]], words: Sequence[str]) -> None:
        self._values = values
        self.words = list(words)

    def text(self, name: str, default: str = "") -> str:
        """The last one given."""
        found = self._values.get(name)
        return found[-1] if found else default

    def texts(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def on(self, name: str) -> bool:
        return bool(self._values.get(name)) and self._values[name][-1] == "true"

    def given(self, name: str) -> bool:
        return name in self._values

    def number(self, name: str, default: int = 0) -> int:
        """Raises: UsageError."""
        text = self.text(name)
        if not text:
            return default
        try:
            return int(text)
        except ValueError:
            raise UsageError(f'invalid value "{text}" for flag --{name}') from None

    def container(self) -> str:
        """The one word that there must be. Raises: UsageError."""
        if len(self.words) != 1:
            raise UsageError("exactly 1 argument is needed: the container's ID")
        return self.words[0]


def parse(flags: Sequence[Flag], words: Sequence[str], *, mixed: bool = False) -> Arguments:
    """``mixed``: options may also follow other words.

    Raises: UsageError; RefusedError for a flag of that kind that is given.
    """
    by_name = {f"--{flag.name}": flag for flag in flags} | {f"-{flag.short}": flag for flag in flags if flag.short}
    values: dict[str, list[str]] = {}
    others: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            position += 1
            break
        if not word.startswith("-") or word == "-":
            if not mixed:
                break
            others.append(word)
            position += 1
            continue
        position += 1
        name, separator, value = word.partition("=")
        flag = by_name.get(name) or by_name.get(f"-{name}")
        if flag is None:
            raise UsageError(f"flag provided but not defined: {name}")
        if flag.kind == "bool" or (flag.kind == "refused" and not separator):
            value = _truth(name, value if separator else "")
        elif not separator:
            if position == len(words):
                raise UsageError(f"flag needs an argument: {name}")
            value = words[position]
            position += 1
        if flag.kind == "refused":
            if value != "false":
                raise RefusedError(f"--{flag.name}")
            continue
        values.setdefault(flag.name, []).append(value)
    return Arguments(values, [*others, *words[position:]])


def _truth(name: str, text: str) -> str:
    if text in _TRUE:
        return "true"
    if text in _FALSE:
        return "false"
    raise UsageError(f'invalid boolean value "{text}" for flag {name}')
