"""One list of objects as a table, as JSON lines, or through a template."""

from __future__ import annotations

import sys

from rundlet.cli.format.table import layout, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from rundlet.cli.context import Context

    Field = tuple[str, Callable[[Any, bool], Any]]
    """A column's header, and what computes its text from an item (second argument: do not truncate)."""

TABLE = "table"
_BARE = frozenset({"labels", "ports"})
"""Of --format raw: what has no blank after its colon when it is empty."""


def print_rows(
    context: Context,
    items: Iterable[Any],
    fields: Mapping[str, Field],
    columns: Sequence[str],
    *,
    template: str = "",
    quiet: str = "",
    full: bool = False,
    methods: Mapping[str, Callable[..., Any]] | None = None,
    type_name: str = "formatter.Context",
    raw: Sequence[tuple[str, str]] = (),
    in_json: Mapping[str, Callable[[Any, bool], Any]] | None = None,
) -> None:
    """Print ``items``: ``template`` is --format, ``quiet`` the one field that -q prints, ``columns`` the default.

    ``in_json``: what some columns are computed with there. ``type_name``: of an item, for messages.
    ``raw``: the labels and fields of ``--format raw``, where a list has it.
    """
    kind, template = split_format(template)
    if quiet and (kind == "" or (kind == TABLE and not template)):
        _, compute = fields[quiet]
        sys.stdout.write("".join(f"{compute(item, full)}\n" for item in items))
    elif kind in ("", TABLE) and not template:
        rows = [[fields[name][0] for name in columns]]
        rows += [[visible(str(fields[name][1](item, full))) for name in columns] for item in items]
        sys.stdout.write(layout(rows))
    elif kind == "json":
        _print_json(items, fields, in_json or {}, full=full)
    elif raw and template == "raw":
        _print_raw(items, fields, raw, quiet, full=full)
    else:
        from rundlet.cli.format.templated import print_templated

        print_templated(
            items,
            fields,
            template,
            table=kind == TABLE,
            full=full,
            methods=methods,
            type_name=type_name,
            in_json=in_json,
        )


def split_format(text: str) -> tuple[str, str]:
    """``table {{.X}}`` as ("table", "{{.X}}"), ``json`` as ("json", ""), anything else as ("template", text)."""
    if not text:
        return "", ""
    if text == TABLE or text.startswith(("table ", "table\t", "table{")):
        return TABLE, text[len(TABLE) :].lstrip(" ")
    if text == "json":
        return "json", ""
    return "template", text


def _print_raw(
    items: Iterable[Any], fields: Mapping[str, Field], raw: Sequence[tuple[str, str]], quiet: str, *, full: bool
) -> None:
    """A line for each field and an empty one after each item; with -q one line for each item."""
    wanted = [(label, name) for label, name in raw if not quiet or name == quiet]
    for item in items:
        cells = [(label, fields[name][1](item, full)) for label, name in wanted]
        lines = [
            f"{label}: {text}".rstrip(" ") + "\n" if label in _BARE else f"{label}: {text}\n" for label, text in cells
        ]
        sys.stdout.write("".join(lines) + ("" if quiet else "\n"))


def _print_json(
    items: Iterable[Any],
    fields: Mapping[str, Field],
    in_json: Mapping[str, Callable[[Any, bool], Any]],
    *,
    full: bool,
) -> None:
    from rundlet.util.template.json_text import encode

    for item in items:
        row = {name: in_json.get(name, fields[name][1])(item, full) for name in sorted(fields)}
        sys.stdout.write(html_safe(encode(row)) + "\n")


def html_safe(text: str) -> str:
    """JSON of rows has the letters of HTML escaped, as Go's encoder does it unless told otherwise."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
