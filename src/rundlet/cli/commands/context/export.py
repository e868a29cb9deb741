"""``rundlet context export``."""

from __future__ import annotations

import io
import os
import sys
import tarfile

from rundlet.cli import context_store
from rundlet.cli.context_store import ContextStore, Entry
from rundlet.cli.exit import CommandError
from rundlet.client.wire import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTEXT [FILE|-]"
SHORT = "Export a context to a tar archive FILE or a tar stream on STDOUT"
LONG = f"{SHORT}."
ARGS = (1, 2)
FLAGS = ()


def run(call: Invocation) -> int:
    name = call.args[0]
    if name == context_store.DEFAULT:
        found = context_store.default(call.context.default_host())
    else:
        context_store.check_name(name)
        found = ContextStore(call.context.config_directory).get(name)
    data = _archive(found)
    target = call.args[1] if len(call.args) > 1 else f"{name}.dockercontext"
    if target == "-":
        if sys.stdout.isatty():
            raise CommandError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(data)
        return 0
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise CommandError(f"open {target}: {(exc.strerror or '').lower()}") from exc
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except OSError as exc:
        os.unlink(target)
        raise CommandError(f"write {target}: {(exc.strerror or '').lower()}") from exc
    call.context.warn(f'Written file "{target}"')
    return 0


def _archive(entry: Entry) -> bytes:
    """``meta.json`` and ``tls/docker/*.pem``, as Docker packs them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add(archive, "meta.json", dumps(entry.document).encode(), 0o644)
        if entry.tls:
            for directory in ("tls", "tls/docker"):
                member = tarfile.TarInfo(directory)
                member.type, member.mode = tarfile.DIRTYPE, 0o700
                archive.addfile(member)
        for name, data in sorted(entry.tls.items()):
            _add(archive, f"tls/docker/{name}", data, 0o600)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))
