"""The tables and pages in Markdown: plain, as any generator and GitHub show them."""

import re
import typing
from collections.abc import Iterable

import msgspec

from rundlet.cli import catalog
from tools.reference import observed
from tools.reference.commands import GLOBAL, Command, Flag, commands
from tools.reference.endpoints import Endpoint, Parameter, endpoints

MADE = "<!-- Made by `python -m tools.reference` from the code's own tables: change those. -->"


def command_table() -> str:
    """``docs/commands.md``: each flag of each command, and the test that observes what it does."""
    parts = [
        MADE,
        "# Commands",
        "Every command and every flag, and a test that observes what the flag does (or that it is refused by name). A "
        "command's own page says what its flags mean. `rundlet create` takes the flags of `rundlet run` and makes its "
        "request with the same function; the table doesn't repeat them.",
    ]
    for command in commands():
        title = command.name if not command.module else f"[{GLOBAL} {command.name}](commands/{command.page}.md)"
        parts += [f"## {title}", command.short + "."]
        own = [flag for flag in command.flags if flag.command == command.name]
        if own:
            tests = observed.table()["flags"]
            parts.append(
                _table(("flag", "test"), ((_flag_cell(flag), _tests(tests.get(flag.key, []))) for flag in own))
            )
    return "\n\n".join(parts) + "\n"


def endpoint_table() -> str:
    """``docs/engine-api.md``: each endpoint, what it reads of a request, and the tests that observe it."""
    parts = [
        MADE,
        "# Engine API",
        "Every endpoint, for API versions 1.24 to 1.51: with `/v1.51` (or another version) in front, or without. "
        "Query parameters are read in all versions unless one is named. Fields of a body listed here have an effect "
        "or are refused by name (status 501); others are ignored, as Docker ignores what it doesn't know. "
        "Paths with `/rundlet/`, and those of an image's layers, are Rundlet's own.",
    ]
    groups: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints():
        groups.setdefault(endpoint.path.split("/")[1], []).append(endpoint)
    tests = observed.table()["endpoints"]
    for name, members in groups.items():
        rows = ((f"`{one.key}`", _request(one), _tests(tests.get(one.key, []))) for one in members)
        parts += [f"## /{name}", _table(("endpoint", "reads", "test"), rows)]
    parts += ["## Bodies", *(_body(kind) for kind in _bodies())]
    return "\n\n".join(parts) + "\n"


def command_page(command: Command) -> str:
    """``docs/commands/container-run.md``: what ``rundlet run --help`` says."""
    forms = "\n".join(f"{GLOBAL} {form}".rstrip() for form in _forms(command))
    parts = [MADE, f"# {GLOBAL} {command.name}", _prose(command.long), f"```text\n{forms}\n```"]
    if len(command.names) > 1:
        parts.append("Also: " + ", ".join(f"`{GLOBAL} {name}`" for name in command.names[1:]) + ".")
    shown = [flag for flag in command.flags if not flag.hidden]
    if shown:
        parts.append(_table(("option", ""), ((_flag_cell(flag), _cell(flag.text)) for flag in shown)))
    hidden = [flag for flag in command.flags if flag.hidden]
    if hidden:
        parts.append("Known, but not in `--help`: " + ", ".join(f"`--{flag.long}`" for flag in hidden) + ".")
    return "\n\n".join(parts) + "\n"


def command_index() -> str:
    """``docs/commands/index.md``: all pages by what they are about."""
    parts = [MADE, "# All commands"]
    nouns = {"": "Without a noun", **{noun: text for noun, (text, _) in catalog.NOUNS.items()}}
    for noun, text in nouns.items():
        module = noun.replace(" ", ".")
        members = [one for one in commands() if one.module and one.module.rpartition(".")[0] == module]
        if members:
            rows = ((f"[{GLOBAL} {one.name}]({one.page}.md)", one.short) for one in members)
            parts += [f"## {text}", _table(("command", ""), rows)]
    parts.append("[Every flag, and the test that observes it](../commands.md)")
    return "\n\n".join(parts) + "\n"


def _forms(command: Command) -> Iterable[str]:
    first, *others = command.usage.split("\n")
    return (f"{command.name} {first}", *others)


def _prose(text: str) -> str:
    """Help text is laid out for terminals; what is indented there is an example here."""
    blocks = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        laid_out = any(line.startswith(" ") for line in lines)
        blocks.append("```text\n" + block + "\n```" if laid_out else block.replace("<", "&lt;"))
    joined = "\n\n".join(blocks)
    return joined if joined.rstrip().endswith((".", "```", ":")) else joined + "."


def _flag_cell(flag: Flag) -> str:
    name = f"-{flag.short}, --{flag.long}" if flag.short else f"--{flag.long}"
    return f"`{name} {flag.kind}`" if flag.kind else f"`{name}`"


def _tests(entries: Iterable[str]) -> str:
    return "<br>".join(f"`{entry}`" for entry in entries) or "**none**"


def _request(endpoint: Endpoint) -> str:
    parts = [endpoint.answer] if endpoint.answer else []
    parts += [_parameter(one) for one in endpoint.query.values()]
    parts += [f"header `{name}`" for name in sorted(endpoint.headers)]
    if endpoint.body is not None:
        parts.append(f"body [{endpoint.body.__name__}](#{endpoint.body.__name__.lower()})")
    if endpoint.stream:
        parts.append("body: an archive, as a stream")
    return _cell(", ".join(parts))


def _parameter(parameter: Parameter) -> str:
    text = f"`{parameter.name}`"
    if parameter.values:
        text += " (" + " ".join(parameter.values) + ")"
    return f"{text} from {parameter.since}" if parameter.since else text


def _bodies() -> list[type[msgspec.Struct]]:
    """All body types and what they are made of, by name."""
    found: dict[str, type[msgspec.Struct]] = {}
    queue = [one.body for one in endpoints() if one.body is not None]
    while queue:
        kind = queue.pop()
        if kind.__name__ not in found:
            found[kind.__name__] = kind
            queue += [inner for hint in typing.get_type_hints(kind).values() for inner in _structs(hint)]
    return [found[name] for name in sorted(found)]


def _structs(hint: object) -> list[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [inner for argument in typing.get_args(hint) for inner in _structs(argument)]


def _body(kind: type[msgspec.Struct]) -> str:
    hints = typing.get_type_hints(kind)
    names = ", ".join(_field(one.encode_name, hints[one.name]) for one in msgspec.structs.fields(kind))
    return f"### {kind.__name__}\n\n{names or 'nothing'}"


def _field(name: str, hint: object) -> str:
    inner = _structs(hint)
    return f"[{name}](#{inner[0].__name__.lower()})" if inner and inner[0].__name__ != "Empty" else f"`{name}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _cell(text: str) -> str:
    """Text that stays in its cell and is shown as it is; columns made of blanks stay columns."""
    lines = (re.sub(r"^('[^']+':)\s+", r"\1 ", line) for line in text.split("\n"))
    return "<br>".join(lines).replace("|", "\\|").replace("<format", "&lt;format").replace("<[", "&lt;[")
