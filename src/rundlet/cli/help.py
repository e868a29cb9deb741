"""Help texts, generated from the command tables and laid out as Docker's (Go's cobra and pflag) are."""

from __future__ import annotations

import os

from rundlet.cli import catalog
from rundlet.cli.flags import HELP, shown_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from rundlet.cli.plugins import Plugin

SLOP = 5
MINIMUM = 24


def terminal_width() -> int:
    """Columns of the terminal on standard output; 80 elsewhere."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def _break(width: int, text: str) -> tuple[str, str]:
    """Cut ``text`` at the last blank before ``width``; a line may be SLOP longer when that spares a break."""
    if width + SLOP > len(text):
        return text, ""
    blank = max(text.rfind(character, 0, width) for character in " \t\n")
    if blank <= 0:
        return text, ""
    newline = text.rfind("\n", 0, width)
    if 0 < newline < blank:
        blank = newline
    return text[:blank], text[blank + 1 :]


def wrap(indent: int, width: int, text: str) -> str:
    """``text`` in lines of at most ``width`` columns, all but the first indented by ``indent``."""
    lead = ""
    room = width - indent
    if room < MINIMUM:
        indent, lead = 16, "\n" + " " * 16
        room = width - indent
    margin = "\n" + " " * indent
    if room < MINIMUM:
        return text.replace("\n", margin)
    lines = []
    while text:
        line, text = _break(room - SLOP, text)
        lines.append(line.replace("\n", margin))
    return lead + margin.join(lines)


def flag_lines(table: Iterable[tuple[Any, ...]], width: int) -> str:
    """The option table: sorted by name, help texts aligned."""
    rows: list[tuple[str, str]] = []
    for flag in sorted(table, key=lambda flag: str(flag[0])):
        name, short, kind, text = flag[:4]
        if text:
            left = f"  -{short}, --{name}" if short else f"      --{name}"
            rows.append((left + ("" if kind == "bool" else f" {shown_kind(kind)}"), text))
    widest = max((len(left) for left, _ in rows), default=0)
    return "\n".join(left.ljust(widest) + "   " + wrap(widest + 3, width - 1, text) for left, text in rows)


def usage_line(program: str, path: str, usage: str) -> str:
    """``Usage:  docker run [OPTIONS] …``; further forms of a command come on lines of their own."""
    first, *others = usage.split("\n")
    forms = [f"{program} {path} {first}".rstrip(), *(f"{program} {form}" for form in others)]
    return "Usage:  " + "\n\t".join(forms)


def command_help(program: str, path: str, module: Any) -> str:
    """``--help`` of a command, as it was called (``path``: "run" or "container run")."""
    parts = [usage_line(program, path, module.USAGE), "", getattr(module, "LONG", module.SHORT)]
    names = catalog.names_of(module.__name__.removeprefix("rundlet.cli.commands."))
    if len(names) > 1:
        parts += ["", "Aliases:", "  " + ", ".join(f"{program} {name}" for name in names)]
    table: Sequence[tuple[Any, ...]] = module.FLAGS
    if any(flag[1] == "h" for flag in table):
        table = (*table, HELP)
    if any(flag[3] for flag in table):
        parts += ["", "Options:", flag_lines(table, terminal_width())]
    return "\n".join(parts) + "\n"


def _listing(names: Iterable[tuple[str, str]], width: int) -> list[str]:
    return [f"  {name.ljust(width)} {text}" for name, text in names]


def noun_help(program: str, noun: str) -> str:
    """``rundlet container --help``: the verbs of a noun."""
    verbs = sorted((name, text) for name, text in catalog.NOUNS[noun][1].items() if text)
    width = max(11, *(len(name) for name, _ in verbs))
    parts = [f"Usage:  {program} {noun} COMMAND", "", catalog.NOUNS[noun][0]]
    below = [(name.removeprefix(f"{noun} "), text) for name, (text, _) in sorted(catalog.NOUNS.items())]
    below = [(name, text) for name, text in below if f"{noun} {name}" in catalog.NOUNS]
    if below:
        parts += ["", "Management Commands:", *_listing(below, width)]
    parts += ["", "Commands:", *_listing(verbs, width)]
    parts += ["", f"Run '{program} {noun} COMMAND --help' for more information on a command."]
    return "\n".join(parts) + "\n"


def top_help(program: str, plugins: Sequence[Plugin] = ()) -> str:
    """``rundlet --help``, with the commands of Docker's plugins that the machine has."""
    from rundlet.cli.main import GLOBAL_FLAGS

    parts = [
        f"Usage:  {program} [OPTIONS] COMMAND",
        "",
        "A container engine in Python that speaks Docker",
        "",
        "Start here:",
        f"  {program} run -it debian           a shell in a fresh container",
        f"  {program} run -d -p 8080:80 nginx  a server in the background, on port 8080",
        f"  {program} ps                       what is running",
    ]
    hidden = bool(os.environ.get("DOCKER_HIDE_LEGACY_COMMANDS"))
    for title, names in catalog.GROUPS:
        shown = names if title == "Common Commands" or not hidden else catalog.without_nouns(names)
        if shown:
            parts += ["", f"{title}:", *_listing(((name, catalog.summary(name)) for name in shown), 11)]
    parts += ["", "Management Commands:"]
    nouns = [(name, noun[0]) for name, noun in catalog.NOUNS.items() if " " not in name]
    nouns += [(f"{plugin.name}*", plugin.summary) for plugin in plugins if not plugin.error]
    parts += _listing(sorted(nouns), 11)
    broken = [(plugin.name, plugin.error) for plugin in plugins if plugin.error]
    if broken:
        parts += ["", "Invalid Plugins:", *_listing(broken, 11)]
    parts += ["", "Global Options:", flag_lines(GLOBAL_FLAGS, terminal_width())]
    parts += [
        "",
        f"Run '{program} COMMAND --help' for more information on a command.",
        "The engine starts by itself when it is needed; other Docker clients reach it with",
        f'  eval "$({program} engine env)"',
    ]
    return "\n".join(parts) + "\n"
