"""``--secret`` and ``--ssh``: what RUN steps may borrow and no layer ever holds."""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError
from rundlet.cli.options.mounts import split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

LARGEST = 500 * 1024
"""Bytes of one secret; BuildKit's limit."""


def read_secrets(words: Iterable[str]) -> dict[str, bytes]:
    """``id=NAME[,src=FILE|,env=VARIABLE]`` to contents. Raises CommandError."""
    found: dict[str, bytes] = {}
    for word in words:
        fields: dict[str, str] = {}
        for field in split_csv(word):
            key, equals, value = field.partition("=")
            if not equals:
                raise CommandError(f"ERROR: failed to build: invalid field '{field}' must be a key=value pair")
            key = {"src": "source"}.get(key.lower(), key.lower())
            if key not in ("id", "type", "source", "env"):
                raise CommandError(f"ERROR: failed to build: unexpected key '{key}' in '{field}'")
            fields[key] = value
        name = fields.get("id") or os.path.basename(fields.get("source", ""))
        if not name:
            raise CommandError("ERROR: failed to build: secret missing ID")
        found[name] = _secret(name, fields)
    return found


def _secret(name: str, fields: dict[str, str]) -> bytes:
    kind = fields.get("type", "")
    if kind not in ("", "file", "env"):
        raise CommandError(f"ERROR: failed to build: unsupported secret type '{kind}'")
    variable, path = fields.get("env", ""), fields.get("source", "")
    if kind == "env" and not variable:
        variable, path = path or name, ""
    if variable or (not path and not kind and name in os.environ):
        value = os.environb.get(os.fsencode(variable or name))
        if value is None:
            raise CommandError(f"ERROR: failed to build: secret env variable {variable} is not set")
        return value
    path = os.path.expanduser(path or name)
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as exc:
        reason = (exc.strerror or "").lower()
        raise CommandError(f"ERROR: failed to build: failed to stat {path}: stat {path}: {reason}") from exc
    if len(content) > LARGEST:
        raise CommandError(f"ERROR: failed to build: secret {name} too big. max size {LARGEST // 1024}KB")
    return content


def read_agents(words: Iterable[str]) -> dict[str, str]:
    """``default``, ``NAME=SOCKET`` to the agents' sockets. Raises CommandError."""
    found: dict[str, str] = {}
    for word in words:
        name, _, paths = word.partition("=")
        path = paths.partition(",")[0] or os.environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise CommandError("ERROR: failed to build: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")
        if "," in paths or not os.path.exists(path):
            what = "several keys for one agent" if "," in paths else f"{path}: no such file or directory"
            raise CommandError(f"ERROR: failed to build: failed to stat {what}")
        import stat

        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise CommandError(f"--ssh {name}={path} (a key instead of an agent's socket) is not supported by Rundlet")
        found[name] = path
    return found
