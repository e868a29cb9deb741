"""``inspect`` of every kind: a JSON array as Docker prints it, or a template over each object."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def pretty(value: Any, indent: str = "") -> str:
    """JSON with four blanks per level, keys as they came, empty containers closed at once: Go's json.Indent."""
    from rundlet.client.wire import dumps

    inner = indent + "    "
    if isinstance(value, dict) and value:
        members = (f"{inner}{dumps(key)}: {pretty(member, inner)}" for key, member in value.items())
        return "{\n" + ",\n".join(members) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + pretty(member, inner) for member in value) + f"\n{indent}]"
    return text(value)


def text(value: Any) -> str:
    """One scalar, with Unicode left as it is."""
    if isinstance(value, str):
        from json.encoder import encode_basestring

        return encode_basestring(value)
    from rundlet.client.wire import dumps

    return dumps(value)


def inspect_all(
    names: Iterable[str], find: Callable[[str], tuple[Any, str]], template: str, *, made_here: bool = False
) -> int:
    """Print what ``find`` returns for each name; what is not found is reported at the end. Returns the exit code.

    ``find`` gives a document and what its type is called in Go. ``made_here``: the document is the command line's own,
    not the engine's: in its JSON the letters of HTML are escaped, and a template sees its type only.

    Raises CommandError for a bad template, and for what was not found.
    """
    show = None if template in ("", "json") else _renderer(template, made_here=made_here)
    objects: list[Any] = []
    shown: list[str] = []
    errors: list[str] = []
    for name in names:
        try:
            found, type_name = find(name)
            if show is None:
                objects.append(found)
            else:
                shown.append(show(found, type_name) + "\n")
        except ApiError as exc:
            errors.append(str(exc))
        except CommandError as exc:
            errors.append(exc.message)
        except ClientError as exc:
            errors.append(str(exc))
            break  # the engine does not answer: it would not for the next name
    if show is not None:
        sys.stdout.write("".join(shown) or "\n")
    else:
        sys.stdout.write(_documents(objects, compact=template == "json", escaped=made_here))
    sys.stdout.flush()
    if errors:
        raise CommandError("\n".join(errors))
    return 0


def _documents(objects: list[Any], *, compact: bool, escaped: bool) -> str:
    from rundlet.client.wire import dumps

    shown = dumps(objects) if compact else pretty(objects)
    if escaped:
        from rundlet.cli.format.rows import html_safe

        shown = html_safe(shown)
    return shown + "\n"


def _renderer(template: str, *, made_here: bool) -> Callable[[Any, str], str]:
    """As Docker: over the type, and where that fails over the document, whose error is the one to be read."""
    from rundlet.cli.format.templated import compile_format
    from rundlet.cli.format.types import decoded, raw

    compiled = compile_format(template)

    def show(found: Any, type_name: str) -> str:
        try:
            return compiled.render(decoded(type_name, found))
        except CommandError:
            if made_here:
                raise
        return compiled.render(raw(found), strict=True)

    return show
