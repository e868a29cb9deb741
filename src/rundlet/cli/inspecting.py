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


def inspect_all(names: Iterable[str], find: Callable[[str], Any], template: str, *, escaped: bool = False) -> int:
    """Print what ``find`` returns for each name; what is not found is reported at the end. Returns the exit code.

    ``escaped``: in the JSON the letters of HTML are escaped, as where Docker's command line makes the document itself.

    Raises CommandError for a bad template or when the engine can't be reached.
    """
    render = _renderer(template)
    objects: list[Any] = []
    errors: list[str] = []
    for name in names:
        try:
            objects.append(find(name))
        except ApiError as exc:
            errors.append(str(exc))
        except CommandError as exc:
            errors.append(exc.message)
        except ClientError as exc:
            raise CommandError(str(exc)) from exc
        else:
            if render is not None:
                sys.stdout.write(_rendered(render, objects[-1]) + "\n")
    if render is None:
        if template == "json":
            from rundlet.client.wire import dumps

            sys.stdout.write(dumps(objects) + "\n")
        else:
            shown = pretty(objects)
            if escaped:
                from rundlet.cli.format.rows import html_safe

                shown = html_safe(shown)
            sys.stdout.write(shown + "\n")
    elif not objects:
        sys.stdout.write("\n")
    sys.stdout.flush()
    if errors:
        raise CommandError("\n".join(errors))
    return 0


def _rendered(render: Callable[[Any], str], value: Any) -> str:
    """As Docker: over the whole type, and where that fails over the document, whose error is the one to be read."""
    from rundlet.cli.format.zeros import completed

    try:
        return render(completed(value))
    except CommandError:
        pass
    try:
        return render(value)
    except CommandError:
        # Docker ends the line that it could not fill.
        sys.stdout.write("\n")
        raise


def _renderer(template: str) -> Callable[[Any], str] | None:
    if template in ("", "json"):
        return None
    from rundlet.cli.format.templated import compile_format

    compiled = compile_format(template)
    return compiled.render
