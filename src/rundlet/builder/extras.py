"""What only ADD knows: archives that are unpacked, downloads, git."""

import asyncio
import hashlib
import posixpath
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.downloads import Download, clone, git_source, is_http
from rundlet.builder.errors import BuildError, TransferError
from rundlet.builder.pieces import Archive, Piece, contents, file_header, picked
from rundlet.builder.report import Reporter, Step
from rundlet.builder.transfers import Place, exclusions, pick_all
from rundlet.builder.urls import Downloads, RemoteFile
from rundlet.builder.workspace import Workspace
from rundlet.errors import RundletError
from rundlet.image.records import Progress
from rundlet.storage.errors import LayerError
from rundlet.storage.files.access import Picked, PickRequest, Source
from rundlet.storage.layer import tarwrite
from rundlet.storage.layer.compression import Inflater
from rundlet.util.tasks import all_of

_BLOCK: Final = 512
_HEX: Final = re.compile("[0-9a-f]{1,64}")
_CHECKSUM: Final = slice(148, 156)
_CHUNK: Final = 1 << 20


class AddExtras:
    """One per build."""

    def __init__(
        self, downloads: Downloads, workspace: Workspace, reporter: Reporter, secrets: Mapping[str, bytes]
    ) -> None:
        self._downloads = downloads
        self._workspace = workspace
        self._reporter = reporter
        self._secrets = secrets

    async def pieces(self, instruction: ast.Add, place: Place, step: Step) -> list[Piece]:
        """See transfers.Extras."""
        remote: list[Coroutine[Any, Any, Piece]] = []
        local: list[str] = []
        for source in instruction.sources:
            if git_source(source) is not None:
                remote.append(self._git(instruction, source, step))
            elif is_http(source):
                remote.append(self._url(instruction, source, step))
            else:
                local.append(source)
        pieces = await all_of(remote)
        if local:
            pieces += await self._local(instruction, tuple(local), place)
        return pieces

    # ── from the context ─────────────────────────────────────────────────────────────────────────────────────

    async def _local(self, instruction: ast.Add, sources: tuple[str, ...], place: Place) -> list[Piece]:
        whole, found = await pick_all(msgspec.structs.replace(instruction, sources=sources), place)
        if instruction.unpack is False:
            return [whole]
        archives = [item for item in found if not item.directory and await self._is_archive(place, item)]
        if not archives:
            return [whole]
        pieces = []
        for item in found:
            request = _request_for(item, place, instruction.excludes)
            if item in archives:
                pieces.append(await _archive(partial(contents, place.reader, request)))
            else:
                pieces.append((await picked(place.reader, request, owned=place.owned))[0])
        return pieces

    async def _is_archive(self, place: Place, item: Picked) -> bool:
        async with aclosing(contents(place.reader, _request_for(item, place, ()))) as chunks:
            return await _holds_tar(chunks)

    # ── from elsewhere ───────────────────────────────────────────────────────────────────────────────────────

    async def _url(self, instruction: ast.Add, url: str, step: Step) -> Piece:
        def progress(state: Progress) -> None:
            self._reporter.progress(step, state)

        try:
            found = await self._downloads.find(url, instruction.checksum, progress)
        except RundletError as exc:
            raise TransferError("ADD", str(exc)) from exc
        if instruction.unpack:
            return _archive_piece(f"archive\0{found.digest}", lambda: _bytes_of(found))
        name = found.name or posixpath.basename(instruction.destination)
        if not name:
            raise TransferError("ADD", f"cannot determine filename from url: {url}: give the destination a file name")
        return _file_piece(found, name)

    async def _git(self, instruction: ast.Add, text: str, step: Step) -> Piece:
        source = git_source(text)
        assert source is not None
        if instruction.checksum and not _HEX.fullmatch(instruction.checksum):
            raise BuildError(f'invalid checksum "{instruction.checksum}", expected hex commit hash')
        directory = await asyncio.to_thread(self._workspace.directory, "git")

        def say(line: str) -> None:
            self._reporter.output(step, 2, f"{line}\n".encode())

        keep = instruction.keep_git_dir
        commit = await clone(source, directory, keep_metadata=keep, secrets=self._secrets, on_line=say)
        if instruction.checksum and not commit.startswith(instruction.checksum):
            raise BuildError(f"expected checksum to match {instruction.checksum}, got {commit}")
        words = [word for word in source.directory.split("/") if word not in ("", ".", "..")]
        request = PickRequest(sources=[Source(tuple((False, word) for word in words))], owner=(0, 0))
        piece, found = await picked(lambda: self._workspace.read_directory(directory), request, owned=False)
        if not found:
            raise BuildError(f"{text}: no such directory in the repository: {source.directory}")
        return piece


def _request_for(item: Picked, place: Place, excludes: Sequence[str]) -> PickRequest:
    words = [word for word in item.name.split("/") if word]
    return PickRequest(
        sources=[Source(tuple((False, word) for word in words))],
        excludes=(*place.excludes, *exclusions(excludes)),
        owner=None if place.owned else (0, 0),
    )


async def _archive(opened: Callable[[], AsyncGenerator[bytes, None]]) -> Piece:
    hasher = hashlib.sha256(b"archive\0")
    async with aclosing(opened()) as chunks:
        async for chunk in chunks:
            hasher.update(chunk)
    return _archive_piece(hasher.hexdigest(), opened)


def _archive_piece(digest: str, opened: Callable[[], AsyncGenerator[bytes, None]]) -> Piece:
    return Piece(digest, opened, directory=True, owned=True, keep_kinds=False, enclosed=True)


async def _holds_tar(chunks: AsyncGenerator[bytes, None]) -> bool:
    """Whether an archive begins there, compressed or not."""
    inflater = Inflater()
    start = b""
    try:
        async for chunk in chunks:
            for piece in inflater.feed(chunk):
                start += piece
                if len(start) >= _BLOCK:
                    return _is_header(start[:_BLOCK])
    except LayerError:
        return False
    return False


def _is_header(block: bytes) -> bool:
    field = block[_CHECKSUM].strip(b"\0 ")
    try:
        wanted = int(field, 8)
    except ValueError:
        return False
    return wanted == sum(block[: _CHECKSUM.start]) + sum(block[_CHECKSUM.stop :]) + 8 * 0x20


async def _bytes_of(file: RemoteFile) -> AsyncGenerator[bytes, None]:
    with open((await _brought(file)).path, "rb") as data:
        while chunk := await asyncio.to_thread(data.read, _CHUNK):
            yield chunk


async def _brought(file: RemoteFile) -> Download:
    try:
        return await file.here()
    except RundletError as exc:
        raise TransferError("ADD", str(exc)) from exc


def _file_piece(found: RemoteFile, name: str) -> Piece:
    async def opened() -> Archive:
        brought = await _brought(found)
        yield file_header(name, brought.size, brought.mtime_ns, 0o600)
        async with aclosing(_bytes_of(found)) as chunks:
            async for chunk in chunks:
                yield chunk
        yield tarwrite.padding(brought.size) + tarwrite.END

    return Piece(hashlib.sha256(f"{name}\0{found.digest}".encode()).hexdigest(), opened, single=True)
