"""``--format`` with a template: over whole objects, or over the rows of a list."""

from __future__ import annotations

import contextlib
import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.format.table import layout
from rundlet.util.template import TemplateError, compile_template
from rundlet.util.template.functions import text_argument
from rundlet.util.template.schema import Type
from rundlet.util.template.values import MISSING, Method, Object, Pointer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from rundlet.cli.format.rows import Field
    from rundlet.util.template import Template


_UNPARSED = "template parsing error"  # Docker's words for all that goes wrong with one


class Format:
    """A template whose errors are Docker's."""

    def __init__(
        self,
        text: str,
        functions: Mapping[str, Callable[..., Any]] | None = None,
        unparsed: tuple[str, int] = (_UNPARSED, 64),
        *,
        name: str = "",
    ) -> None:
        """``unparsed``: how the message for a text that is no template begins, and the exit status."""
        try:
            self._template: Template = compile_template(text, functions, name=name)
        except TemplateError as exc:
            raise CommandError(f"{unparsed[0]}: {exc}", unparsed[1]) from exc

    def render(self, value: Any, *, strict: bool = False) -> str:
        """``strict``: a key that a map has not is an error. Raises CommandError."""
        try:
            return self._template.render(value, strict=strict)
        except TemplateError as exc:
            raise CommandError(f"{_UNPARSED}: {exc}") from exc

    def print(self, value: Any, end: str = "\n") -> None:
        """To standard output, with the end of the line also behind what could not be filled. Raises CommandError."""
        try:
            self._template.execute(value, sys.stdout.write)
        except TemplateError as exc:
            raise CommandError(str(exc)) from exc
        finally:
            sys.stdout.write(end)

    def header(self, titles: Object) -> str:
        """What comes before an error, which the rows will tell if it is theirs, too."""
        out: list[str] = []
        with contextlib.suppress(TemplateError):
            self._template.execute(titles, out.append)
        return "".join(out)


def compile_format(text: str) -> Format:
    """Raises CommandError."""
    return Format(text)


def unescape(text: str) -> str:
    """Docker's formats of lists know ``\\t`` and ``\\n`` outside of actions too."""
    return text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")


_POINTER = Type("pointer", "*v1.Platform")


class _Row(Object):
    """A row whose columns are computed when a template asks for them."""

    __slots__ = ("_fields", "_full", "_in_json", "_item", "_methods", "type_name")

    def __init__(
        self,
        item: Any,
        fields: Mapping[str, Field],
        methods: Mapping[str, Callable[..., Any]],
        type_name: str,
        *,
        full: bool,
        in_json: Mapping[str, Callable[[Any, bool], Any]] | None = None,
    ) -> None:
        self.type_name = f"*{type_name}"
        self._in_json = in_json or {}
        self._item = item
        self._fields = fields
        self._methods = methods
        self._full = full

    def field(self, name: str) -> Any:
        if name in self._methods:
            method, item = self._methods[name], self._item
            return Method(lambda label: method(item, text_argument(label, 0)))
        field = self._fields.get(name)
        if field is None:
            return MISSING
        value = field[1](self._item, self._full)
        return Pointer(_POINTER, None) if value is None else value

    def document(self) -> dict[str, Any]:
        return {
            name: self._in_json[name](self._item, self._full) if name in self._in_json else self.field(name)
            for name in sorted(self._fields)
        }


def _json(value: Any) -> str:
    from rundlet.cli.format.rows import html_safe
    from rundlet.util.template.functions import json

    return html_safe(json(value)) if isinstance(value, _Row) else json(value)


def print_templated(
    items: Iterable[Any],
    fields: Mapping[str, Field],
    template: str,
    *,
    table: bool,
    full: bool,
    methods: Mapping[str, Callable[..., Any]] | None = None,
    type_name: str = "formatter.Context",
    in_json: Mapping[str, Callable[[Any, bool], Any]] | None = None,
) -> None:
    """Print each item through ``template``; ``table`` adds the header and aligns. ``methods`` are functions of the
    item that take arguments in the template (``{{.Label "x"}}``); ``type_name`` is what Docker calls an item where the
    template asks for what it does not have. Raises CommandError."""
    text = unescape(template)
    compiled = Format(text, {"json": _json}, (_UNPARSED, 1))
    lines: list[str] = []
    if table:
        lines.append(_header(text, fields))
    for item in items:
        row = _Row(item, fields, methods or {}, type_name, full=full, in_json=in_json)
        lines.append(compiled.render(row))
    if not table:
        sys.stdout.write("".join(line + "\n" for line in lines))
        return
    sys.stdout.write(layout(cells.split("\t") for line in lines for cells in line.split("\n")))


def check_fields(template: str, fields: Mapping[str, Field], methods: Iterable[str], type_name: str) -> None:
    """Whether the template can be executed over an item of which nothing is known. Raises CommandError."""
    nothing: dict[str, Field] = {name: (field[0], _nothing) for name, field in fields.items()}
    row = _Row(None, nothing, dict.fromkeys(methods, _nothing), type_name, full=False)
    Format(unescape(template), {"json": _json}, ("failed to parse template", 1)).render(row)


def _nothing(*_: Any) -> str:
    return ""


class _Titles(Object):
    """The columns' titles; what has none is no error there."""

    __slots__ = ("_titles",)

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._titles = {name: field[0] for name, field in fields.items()}

    def field(self, name: str) -> Any:
        return (
            Method(lambda label: _label_title(text_argument(label, 0))) if name == "Label" else self._titles.get(name)
        )

    def document(self) -> dict[str, Any]:
        return dict(self._titles)


def _header(text: str, fields: Mapping[str, Field]) -> str:
    """The template run over the columns' titles, with functions that leave them as they are."""

    def same(value: Any, *_: Any) -> Any:
        return text_argument(value, 0)

    functions: dict[str, Callable[..., Any]] = dict.fromkeys(
        ("json", "split", "join", "title", "lower", "upper", "truncate"), same
    )
    return Format(text, functions).header(_Titles(fields))


def _label_title(name: str) -> str:
    """``{{.Label "com.example.version"}}`` is headed ``version``."""
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")
