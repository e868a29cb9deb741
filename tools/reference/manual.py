"""Manual pages in roff (see man(7)), for ``man rundlet-run``. Needs the standard library only: it runs in the build."""

import os
import time
from collections.abc import Iterator

from tools.reference.commands import GLOBAL, Command, commands


def pages() -> Iterator[tuple[str, str]]:
    """File name and text of each page; a command's other names lead to the page of its first."""
    for command in commands():
        name = page_name(command.name) if command.module else GLOBAL
        yield f"{name}.1", _page(command, name)
        for other in command.names[1:]:
            yield f"{page_name(other)}.1", f".so man1/{name}.1\n"


def page_name(command: str) -> str:
    """``rundlet-container-run`` for ``container run``."""
    return "-".join([GLOBAL, *command.split()])


def _page(command: Command, name: str) -> str:
    called = f"{GLOBAL} {command.name}" if command.module else GLOBAL
    lines = [
        f'.TH "{name.upper()}" "1" "{_date()}" "Rundlet" "Rundlet manual"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(command.short)}",
        ".SH SYNOPSIS",
        *_synopsis(command, called),
        ".SH DESCRIPTION",
        *_paragraphs(command.long),
    ]
    shown = [flag for flag in command.flags if not flag.hidden]
    if shown:
        lines.append(".SH OPTIONS")
    for flag in shown:
        names = f"\\fB\\-{flag.short}\\fR, " if flag.short else ""
        kind = f" \\fI{_text(flag.kind)}\\fR" if flag.kind else ""
        lines += [".TP", f"{names}\\fB{_text('--' + flag.long)}\\fR{kind}", *_lines(flag.text)]
    if not command.module:
        lines += [".SH COMMANDS", *_list_of_commands()]
    lines += [".SH SEE ALSO", "\\fBrundlet\\fR(1)" if command.module else "\\fBrundlet help\\fR"]
    return "\n".join(lines) + "\n"


def _date() -> str:
    """Of the build, or what a build that is to be repeated says. See: https://reproducible-builds.org/specs/."""
    return time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))


def _synopsis(command: Command, called: str) -> Iterator[str]:
    first, *others = command.usage.split("\n")
    yield f"\\fB{_text(called)}\\fR {_text(first)}".rstrip()
    for form in others:
        yield ".br"
        yield f"\\fB{GLOBAL}\\fR {_text(form)}"


def _list_of_commands() -> Iterator[str]:
    for command in commands():
        if command.module:
            yield ".TP"
            yield f"\\fB{_text(page_name(command.name))}\\fR(1)"
            yield from _lines(command.short)


def _paragraphs(text: str) -> Iterator[str]:
    for number, block in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield from _lines(block)


def _lines(text: str) -> Iterator[str]:
    for number, line in enumerate(text.split("\n")):
        if number:
            yield ".br"
        yield _text(line.strip())


def _text(text: str) -> str:
    """Escaped: a backslash, a hyphen that must stay ASCII, and what would be a request at a line's start."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
