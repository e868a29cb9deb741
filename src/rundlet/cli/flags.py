"""Command-line flags with the rules of Go's pflag.

A flag is a constant tuple ``(long, short, kind, help)`` or ``(long, short, kind, help, default)``; tables of them are
part of a module's code object and cost nothing to load. ``kind`` is both the word shown in help and what chooses the
converter; an empty help text hides a flag from help.
"""

from __future__ import annotations

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Kinds that Docker's help shows as lists; ours are finer for the sake of their checks.
LISTS = frozenset(
    (
        "list",
        "address",
        "byte-rate",
        "device-rule",
        "device-weight",
        "domain",
        "env",
        "host",
        "label",
        "link",
        "operation-rate",
        "stream",
    )
)
MAPS = frozenset(("map", "sysctl"))
REPEATED = (
    LISTS | MAPS | frozenset(("filter", "ulimit", "mount", "network", "gpu-request", "strings", "stringToString"))
)
SIMPLE = frozenset(("string", "list"))
TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
ALIASES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
HELP = ("help", "", "bool", "Print usage")


class FlagError(CommandError):
    """pflag's complaint about a flag or its value; ``name`` is the unknown flag, if that is what it is."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message, 125)
        self.name = name


class HelpRequested(Exception):
    """--help (or, deprecated, -h where a command has no -h of its own), on a line right otherwise; ``words`` are
    its arguments."""

    def __init__(self, words: list[str], *, deprecated: bool = False) -> None:
        super().__init__()
        self.words = words
        self.deprecated = deprecated


class Values(dict[str, "Any"]):
    """What the flags came to, by long name: defaults for those not given. ``given`` holds those given, in order."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, str] = {}


def shown_kind(kind: str) -> str:
    """The word for a kind in help."""
    if kind in LISTS:
        return "list"
    if kind in MAPS:
        return "map"
    return "bytes" if kind == "swap" else kind


def default_of(flag: tuple[Any, ...]) -> Any:
    """A flag's value when it is not given."""
    if len(flag) > 4:
        return flag[4]
    kind = flag[2]
    if kind == "bool":
        return False
    if kind in REPEATED:
        return []
    return 0 if kind in ("int", "int64", "uint", "uint16", "bytes", "swap", "duration", "decimal") else ""


class Parser:
    """One pass over a command's arguments."""

    def __init__(self, table: Sequence[tuple[Any, ...]], *, interspersed: bool = True) -> None:
        self.long = {flag[0]: flag for flag in table}
        self.short = {flag[1]: flag for flag in table if flag[1]}
        self.interspersed = interspersed
        self.values = Values()
        for flag in table:
            self.values[flag[0]] = default_of(flag)
        self.values.setdefault("help", False)
        self._deprecated = False

    def parse(self, words: Sequence[str]) -> list[str]:
        """Positional arguments. Raises FlagError, HelpRequested."""
        positional: list[str] = []
        queue = list(words)
        index = 0
        while index < len(queue):
            word = queue[index]
            index += 1
            if len(word) < 2 or word[0] != "-":
                positional.append(word)
                if not self.interspersed:
                    break
            elif word == "--":
                break
            elif word[1] == "-":
                index = self._long(word, queue, index)
            else:
                index = self._short(word, queue, index)
        positional += queue[index:]
        if self.values["help"]:
            raise HelpRequested(positional, deprecated=self._deprecated)
        return positional

    def _long(self, word: str, queue: list[str], index: int) -> int:
        name, equals, value = word[2:].partition("=")
        if not name or name[0] == "-":
            raise FlagError(f"bad flag syntax: {word}")
        flag = self.long.get(name) or self.long.get(ALIASES.get(name, "")) or (HELP if name == "help" else None)
        if flag is None:
            raise FlagError(f"unknown flag: --{name}", name)
        if not equals:
            if flag[2] == "bool":
                value = "true"
            elif index < len(queue):
                value = queue[index]
                index += 1
            else:
                raise FlagError(f"flag needs an argument: --{name}")
        self._set(flag, value)
        return index

    def _short(self, word: str, queue: list[str], index: int) -> int:
        rest = word[1:]
        while rest:
            letter, shown, rest = rest[0], rest, rest[1:]
            flag = self.short.get(letter)
            if flag is None and letter == "h":
                flag, self._deprecated = HELP, True
            if flag is None:
                raise FlagError(f"unknown shorthand flag: {_quoted(letter)} in -{shown}", letter)
            if rest.startswith("=") and len(rest) > 1:
                self._set(flag, rest[1:])
                return index
            if flag[2] == "bool":
                self._set(flag, "true")
                continue
            if rest:
                self._set(flag, rest)
                return index
            if index >= len(queue):
                raise FlagError(f"flag needs an argument: {_quoted(letter)} in -{shown}")
            self._set(flag, queue[index])
            return index + 1
        return index

    def _set(self, flag: tuple[Any, ...], text: str) -> None:
        name, letter, kind = flag[0], flag[1], flag[2]
        if kind == "filter" and not text:  # no filter, as a script has it whose variable is empty
            self.values.given[name] = text
            return
        try:
            value = text if kind in SIMPLE else convert(kind, text)
        except ValueError as exc:
            shown = f"-{letter}, --{name}" if letter else f"--{name}"
            raise FlagError(f'invalid argument {_double_quoted(text)} for "{shown}" flag: {exc}') from exc
        self.values.given[name] = text
        if kind in ("strings", "stringToString"):
            self.values[name] = [*self.values[name], *value]
        elif kind in REPEATED:
            self.values[name] = [*self.values[name], value]
        else:
            self.values[name] = value


def _quoted(letter: str) -> str:
    return f"'{letter}'"


def _double_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def convert(kind: str, text: str) -> Any:
    """``text`` as a flag of ``kind``. Raises ValueError with Go's or Docker's sentence."""
    if kind == "bool":
        if text in TRUE:
            return True
        if text in FALSE:
            return False
        raise ValueError(f"strconv.ParseBool: parsing {_double_quoted(text)}: invalid syntax")
    if kind in ("int", "int64"):
        return _integer(text, "ParseInt", -(2**63), 2**63)
    if kind == "uint16":
        return _integer(text, "ParseUint", 0, 2**16)
    if kind == "uint":
        return _integer(text, "ParseUint", 0, 2**64)
    from rundlet.cli import values

    return values.CONVERTERS[kind](text)


def _integer(text: str, function: str, low: int, high: int) -> int:
    digits = text[1:] if text[:1] in ("+", "-") and low < 0 else text
    try:
        if not digits or digits[0] in "+- " or not digits.isascii() or digits != digits.strip():
            raise ValueError
        # Base 0, as pflag: 0x10, 0b1, 0o7; Go also reads a leading 0 as octal.
        old_octal = len(digits) > 1 and digits[0] == "0" and digits[1:].isdigit()
        value = int(digits, 8) if old_octal else int(digits, 0)
    except ValueError:
        raise ValueError(f"strconv.{function}: parsing {_double_quoted(text)}: invalid syntax") from None
    value = -value if text[:1] == "-" else value
    if not low <= value < high:
        raise ValueError(f"strconv.{function}: parsing {_double_quoted(text)}: value out of range")
    return value
