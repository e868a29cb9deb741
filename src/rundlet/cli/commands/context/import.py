"""``rundlet context import``."""

from __future__ import annotations

import io
import re
import sys
import tarfile
import zipfile

from rundlet.cli import context_store
from rundlet.cli.context_store import TLS_FILES, ContextStore, Entry
from rundlet.cli.exit import CommandError
from rundlet.client.wire import DecodeError, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTEXT FILE|-"
SHORT = "Import a context from a tar or zip file"
ARGS = (2, 2)
FLAGS = ()
_BELONGS = re.compile(r"meta\.json|tls/.+", re.DOTALL)
LARGEST = 10 << 20
"""Bytes of an archive, and of all that is in it."""


def run(call: Invocation) -> int:
    name, source = call.args
    context_store.check_name(name)
    store = ContextStore(call.context.config_directory)
    if store.exists(name):
        raise CommandError(f'context "{name}" already exists')
    files = _files(_read(source))
    for file in files:
        if not _BELONGS.fullmatch(file) or ".." in file.split("/"):
            raise CommandError(f"{file}: unexpected context file")
    if "meta.json" not in files:
        raise CommandError("invalid context: no metadata found")
    try:
        document = loads(files["meta.json"])
    except DecodeError as exc:
        raise CommandError(f"meta.json: {exc}") from exc
    if not isinstance(document, dict):
        raise CommandError("meta.json: want a JSON object")
    tls = {one: files[f"tls/docker/{one}"] for one in TLS_FILES if f"tls/docker/{one}" in files}
    entry = Entry({**document, "Name": name}, tls)
    context_store.check_host(entry.host)
    store.put(entry)
    call.context.say(name)
    call.context.warn(f'Successfully imported context "{name}"')
    return 0


def _read(source: str) -> bytes:
    try:
        if source == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            with open(source, "rb") as file:
                data = file.read(LARGEST + 1)
    except OSError as exc:
        raise CommandError(f"open {source}: {(exc.strerror or '').lower()}") from exc
    if len(data) > LARGEST:
        raise CommandError("context file is too large")
    return data


def _files(data: bytes) -> dict[str, bytes]:
    """The archive's regular files by name. Raises CommandError."""
    try:
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                _check_size(sum(member.file_size for member in archive.infolist()))
                return {member.filename: archive.read(member) for member in archive.infolist() if not member.is_dir()}
        if not data.strip(b"\0"):
            return {}
        # Some end with the last file's last byte, which Docker takes: nothing is missing but zeros.
        with tarfile.open(fileobj=io.BytesIO(data + bytes(-len(data) % tarfile.BLOCKSIZE))) as packed:
            members = [member for member in packed.getmembers() if member.isfile()]
            if data[257:262] == b"ustar" and any(one.offset_data + one.size > len(data) for one in members):
                raise EOFError("unexpected EOF")
            _check_size(sum(member.size for member in members))
            opened = {member.name.removeprefix("./"): packed.extractfile(member) for member in members}
            return {name: file.read() for name, file in opened.items() if file is not None}
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as exc:
        reason = str(exc).partition(":\n")[0]  # tarfile adds what it tried, line by line
        raise CommandError(f"unexpected context file: {reason}") from exc


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise CommandError("context file is too large")
