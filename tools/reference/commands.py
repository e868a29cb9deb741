"""What the command table says: every command, what it is called, and its flags."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from rundlet.cli import catalog
from rundlet.cli.flags import default_of, shown_kind
from rundlet.cli.main import GLOBAL_FLAGS

SAME_TABLE = {"container.create": "container.run"}
"""Commands whose flags are those of another one, made into the same request by the same function."""
GLOBAL = "rundlet"


@dataclass(frozen=True, slots=True)
class Flag:
    """``command``: the one whose tests observe it, for ``create`` mostly ``run``. ``kind`` as help shows it."""

    command: str
    long: str
    short: str
    kind: str
    text: str
    default: object

    @property
    def key(self) -> str:
        """``run --cpus``: what the table of tests calls it."""
        return f"{self.command} --{self.long}"

    @property
    def hidden(self) -> bool:
        return not self.text


@dataclass(frozen=True, slots=True)
class Command:
    """``module`` as ``container.run``; ``names`` are all ways to call it, the shortest first."""

    module: str
    names: tuple[str, ...]
    usage: str
    short: str
    long: str
    flags: tuple[Flag, ...]

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def page(self) -> str:
        """The name of its page: ``container-run``."""
        return self.module.replace(".", "-").replace("_", "-")


@cache
def commands() -> tuple[Command, ...]:
    """All, by module; the command without a name (:data:`GLOBAL`) holds the flags before a command."""
    return (_global(), *(_command(module) for module in sorted(_modules())))


def _modules() -> Iterator[str]:
    seen = set()
    nouns = ((*noun.split(), verb) for noun, (_, verbs) in catalog.NOUNS.items() for verb in verbs)
    for words in (*nouns, *((name,) for name in catalog.SHORT_FORMS)):
        module = catalog.resolve(tuple(words))
        if module not in seen:
            seen.add(module)
            yield module


def _global() -> Command:
    text = "A container engine in Python that speaks Docker"
    return Command("", (GLOBAL,), "[OPTIONS] COMMAND", text, text, tuple(_flag(GLOBAL, row) for row in GLOBAL_FLAGS))


def _names(module: str) -> tuple[str, ...]:
    names = dict.fromkeys(catalog.names_of(module))
    return tuple(sorted(names, key=lambda name: (name.count(" "), len(name))))


def _command(module: str) -> Command:
    code = importlib.import_module(f"rundlet.cli.commands.{module}")
    names = _names(module)
    shared = SAME_TABLE.get(module, "")
    other = importlib.import_module(f"rundlet.cli.commands.{shared}").FLAGS if shared else ()
    flags = (_flag(_names(shared)[0] if row in other else names[0], row) for row in getattr(code, "FLAGS", ()))
    long = getattr(code, "LONG", code.SHORT)
    ordered = tuple(sorted(flags, key=lambda flag: flag.long))
    return Command(module, names, code.USAGE, code.SHORT, long, ordered)


def _flag(command: str, row: tuple[object, ...]) -> Flag:
    long, short, kind, text = (str(item) for item in row[:4])
    return Flag(command, long, short, "" if kind == "bool" else shown_kind(kind), text, default_of(row))
