"""Pushing an image, for ``push`` and for ``trust sign``."""

from __future__ import annotations

from rundlet.cli.credentials import NOBODY, registry_headers
from rundlet.cli.progress import show
from rundlet.client.wire import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName


def push(context: Context, name: ImageName, out: TextIO, *, platform: str = "", quiet: bool = False) -> list[Any]:
    """Push one tag, or all when ``name`` has none. The engine's ``aux`` records. Raises CommandError, ApiError."""
    # The API wants the header on every push, even to a registry that asks for nothing.
    headers = registry_headers(context, name.domain) or {"X-Registry-Auth": NOBODY}
    query = {"tag": name.tag or None}
    if platform:
        from rundlet.cli.platforms import platform_json

        query["platform"] = platform_json(platform)
    path = f"/images/{quote(name.familiar_name, '/:')}/push"
    pushed: list[Any] = []
    show(context.session.stream("POST", path, query=query, headers=headers), out, aux=pushed.append, quiet=quiet)
    return pushed
