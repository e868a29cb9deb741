"""Large contexts: the engine keeps the last one of each directory, so only what has changed since is sent.

The engine is told first what there is: of each file its name, kind, mode, size, times and inode number. It answers
which of them it wants. An engine that knows nothing of this gets all.
"""

from __future__ import annotations

import os
import time

from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rundlet.cli.building.packing import Entry, Tree
    from rundlet.client.session import Session

_FEWEST, _SMALLEST = 200, 1 << 20
"""Files and bytes below which asking takes longer than sending."""
_MOST = 100_000
_FRESH_NS = 100_000_000
"""A file that changed this short a time ago may change again without its times telling."""


def context_body(session: Session, tree: Tree, use: str = "") -> tuple[dict[str, Any], Iterator[bytes]]:
    """What the engine is told, and sent, about ``tree``, which the build has for ``use`` ("": its context).

    Raises CommandError, ClientError.
    """
    entries: list[Entry] = []
    waiting = tree.entries()
    for entry in waiting:
        entries.append(entry)
        if len(entries) > _MOST:
            return {}, tree.pack(_all(entries, waiting))
    size = sum(entry.status.st_size for entry in entries)
    if len(entries) < _FEWEST and size < _SMALLEST:
        return {}, tree.pack(entries)
    answer = _ask(session, tree, entries, use)
    if answer is None:
        return {}, tree.pack(entries)
    wanted = answer.get("Wanted")
    if wanted is not None:
        entries = [entries[index] for index in wanted if 0 <= index < len(entries)]
    return {"context": answer["Token"]}, tree.pack(entries)


def _all(entries: list[Entry], rest: Iterator[Entry]) -> Iterator[Entry]:
    yield from entries
    yield from rest


def _ask(session: Session, tree: Tree, entries: list[Entry], use: str) -> dict[str, Any] | None:
    """None when this engine, or this context, can't do it."""
    import json

    fresh = time.time_ns() - _FRESH_NS
    try:
        data = json.dumps({"Entries": [_row(entry, fresh) for entry in entries]}, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # A name that is no text.
        return None
    try:
        headers = {"Content-Type": "application/json"}
        response = session.request(
            "POST", f"/rundlet/contexts/{_key(tree.directory, use)}", stream=[data], headers=headers
        )
        answer: dict[str, Any] = response.json()
    except ApiError:
        return None
    session.release(response.connection)
    return answer


def _row(entry: Entry, fresh: int) -> list[Any]:
    """[name, mode, size, when it changed (0 for just now), when its content did, inode, device]."""
    status = entry.status
    changed = 0 if status.st_ctime_ns > fresh else status.st_ctime_ns
    return [entry.name, status.st_mode, status.st_size, changed, status.st_mtime_ns, status.st_ino, status.st_rdev]


def _key(directory: str, use: str) -> str:
    """The same for the same use of the same directory of the same user on the same machine."""
    from hashlib import sha256

    text = f"{os.uname().nodename}\0{os.getuid()}\0{directory}" + (f"\0{use}" if use else "")
    return sha256(os.fsencode(text)).hexdigest()
