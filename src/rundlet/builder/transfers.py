"""COPY, ADD and WORKDIR: files into a snapshot by confined workers, which become the step's layer."""

import asyncio
import os
import posixpath
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, nullcontext
from typing import Protocol

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.downloads import git_source, is_http
from rundlet.builder.errors import (
    BuildError,
    CopyUrlError,
    DirectoryError,
    ManySourcesError,
    NoSourcesError,
    SourceNotFoundError,
    TransferError,
    VolumeOverFileError,
)
from rundlet.builder.globs import has_pattern, source_of
from rundlet.builder.ignore import BadPatternError, Patterns
from rundlet.builder.layers import LayerMaker
from rundlet.builder.memo import PickMemo
from rundlet.builder.metadata import NOP, said_of_transfer
from rundlet.builder.modes import parse_chmod
from rundlet.builder.pieces import Piece, inline, picked
from rundlet.builder.report import Step
from rundlet.builder.state import StageState, key_of
from rundlet.builder.steps import Recorder, Work
from rundlet.builder.workspace import Workspace
from rundlet.errors import InvalidParameterError
from rundlet.image.records import Layer
from rundlet.oci.digest import Digest
from rundlet.storage.files.access import FileAccess, FileAccessError, Picked, PickRequest, PlaceRequest
from rundlet.storage.snapshot import Snapshotter
from rundlet.util import ids
from rundlet.util.tasks import settled


class Place(msgspec.Struct, frozen=True):
    """Where sources are looked for. ``owned``: the files' owners count; ``shown`` is for messages; ``memo`` knows what
    was found there before; ``buildkit``: patterns are read as it does, and such
    that nothing fits are no error."""

    reader: Callable[[], FileAccess]
    owned: bool
    shown: str
    excludes: tuple[tuple[str, bool], ...] = ()
    memo: PickMemo | None = None
    buildkit: bool = False


class Places(Protocol):
    """Finds the place that ``--from`` names; "" is the main context."""

    def __call__(self, name: str, step: Step) -> Awaitable[Place]: ...


class Extras(Protocol):
    """What only ADD knows: archives, downloads, git."""

    async def pieces(self, instruction: ast.Add, place: Place, step: Step) -> list[Piece]:
        """What the sources of an ADD are."""


class Brought(msgspec.Struct, frozen=True):
    """What a COPY or ADD (``instruction``, expanded) brings to ``destination``, before it is known on top of what.
    ``made``: its layer ``alone``, on top of nothing, was made too (None: it is empty)."""

    instruction: ast.Transfer
    destination: str
    pieces: Sequence[Piece]
    requests: Sequence[PlaceRequest]
    made: bool = False
    alone: Layer | None = None

    @property
    def digest(self) -> str:
        return self.pieces[0].digest if len(self.pieces) == 1 else key_of(*(piece.digest for piece in self.pieces))

    def result(self, chain: Digest | None, epoch: int | None) -> str:
        """The key of the step's files on top of ``chain``."""
        below = None if self.instruction.link else chain
        return key_of("transfer", below, self.digest, msgspec.to_builtins(self.requests), epoch)


class Transfers:
    """One per build."""

    def __init__(
        self,
        recorder: Recorder,
        workspace: Workspace,
        snapshots: Snapshotter,
        layers: LayerMaker,
        places: Places,
        extras: Extras,
        epoch: int | None,
        *,
        buildkit: bool,
    ) -> None:
        """``buildkit``: the rules are its, not those of Docker's classic builder."""
        self._recorder = recorder
        self._workspace = workspace
        self._snapshots = snapshots
        self._layers = layers
        self._places = places
        self._extras = extras
        self._epoch = epoch
        self._buildkit = buildkit
        self._slots = asyncio.Semaphore(max(2, os.cpu_count() or 2))

    async def check_volumes(self, state: StageState, paths: Sequence[str]) -> None:
        """The classic builder makes a container for VOLUME, which has no volume where the image has a file.

        Raises VolumeOverFileError.
        """
        for path in paths:
            # The layers alone are quick to ask, but what one has replaced as a whole they don't tell.
            if not await asyncio.to_thread(self._workspace.is_plain, state.stack, path.lstrip("/")):
                continue
            access = self._workspace.read_stack(state.stack)
            try:
                info = await access.stat(path)
            except FileAccessError:
                continue
            finally:
                await access.close()
            if stat.S_ISREG(info.mode):
                raise VolumeOverFileError(path)

    async def ahead(self, state: StageState, instruction: ast.Transfer, step: Step, *, cacheable: bool) -> Brought:
        """All of COPY or ADD (expanded) that needs no step before it: the sources are fetched and read, and a layer
        that stands alone is made, unless an earlier build has made it. ``state`` need have a configuration only.

        Raises BuildError, StorageError, LayerError.
        """
        brought = await self._brought(state, instruction, step, self._slots)
        if not instruction.link:
            return brought
        result = brought.result(None, self._epoch)
        async with self._recorder.alone(result), self._slots:
            if cacheable and self._recorder.has_result(result):
                return brought
            layer = await self._recorder.loose(result) if cacheable else None
            if layer is None and (layer := await self._alone(brought)) is not None:
                self._recorder.keep_loose(result, layer)
            return msgspec.structs.replace(brought, made=True, alone=layer)

    async def transfer(
        self,
        state: StageState,
        instruction: ast.Transfer,
        step: Step,
        *,
        cacheable: bool,
        ahead: Awaitable[Brought] | None = None,
    ) -> StageState:
        """The state after COPY or ADD (expanded); ``ahead`` has what was done for it before its turn.

        Raises BuildError, StorageError, LayerError.
        """
        brought = await ahead if ahead is not None else None
        # What was foreseen is what has come, unless a step before has more to it than its text.
        if brought is None or (brought.instruction, brought.destination) != (
            instruction,
            _destination(state, instruction.destination),
        ):
            brought = await self._brought(state, instruction, step, None)
        pieces, requests = brought.pieces, brought.requests

        async def move(layer: Layer) -> Layer:
            return await self._layers.moved(layer, state.chain, self._recorder.lease)

        work = Work(
            step=step,
            before=state,
            state=state,
            created_by=said_of_transfer(instruction) if self._buildkit else _said(instruction, brought),
            result=brought.result(state.chain, self._epoch),
            cacheable=cacheable,
            move=move if instruction.link else None,
        )

        async def action() -> Layer | None:
            if not instruction.link:
                return await self._snapshot(state.chain, _fillers(requests, pieces), instruction.keyword)
            layer = brought.alone if brought.made else await self._alone(brought)
            return await move(layer) if layer is not None else None

        return await self._recorder.carry_out(work, action)

    async def _brought(
        self, state: StageState, instruction: ast.Transfer, step: Step, slots: asyncio.Semaphore | None
    ) -> Brought:
        """``slots``: how much of this is done at a time."""
        keyword = instruction.keyword
        destination = _destination(state, instruction.destination)
        chmod = parse_chmod(instruction.chmod) if instruction.chmod else None
        try:
            pieces = await self._pieces(instruction, step, slots)
        except FileAccessError as exc:
            raise TransferError(keyword, str(exc)) from exc
        is_directory = destination.endswith("/")
        several = len(pieces) > 1 or pieces[0].label == "multi"
        renames = [not is_directory and self._may_rename(piece, several=several) for piece in pieces]
        if several and not is_directory and not self._buildkit:
            raise ManySourcesError(keyword)
        requests = [
            PlaceRequest(
                path=destination,
                rename=rename,
                own=None if piece.owned or instruction.chown else (0, 0),
                user=instruction.chown,
                # What an archive holds keeps its modes; and with the classic builder its owners.
                chmod=None if piece.enclosed else chmod,
                keep_kinds=piece.keep_kinds and self._buildkit,
                enclosed=piece.enclosed,
                own_names=piece.enclosed and not self._buildkit,
                lenient=self._buildkit,
                directories=chmod if isinstance(chmod, int) and not piece.enclosed else 0o755,
            )
            for piece, rename in zip(pieces, renames, strict=True)
        ]
        return Brought(instruction, destination, pieces, requests)

    def _may_rename(self, piece: Piece, *, several: bool) -> bool:
        """Whether the destination can be a file's new name. Of several files the last is there in the end with
        BuildKit."""
        return (piece.single and not several) or (self._buildkit and (piece.single or piece.plain))

    async def directory(
        self, state: StageState, after: StageState, directory: str, step: Step, *, owner: str, cacheable: bool
    ) -> StageState:
        """The state after WORKDIR: ``after``, with the directory in it, made as ``owner``'s ("": root's).

        Raises BuildError, StorageError.
        """
        work = Work(
            step=step,
            before=state,
            state=after,
            created_by=f"WORKDIR {directory}" if self._buildkit else f"{NOP} WORKDIR {directory}",
            result=key_of("directory", state.chain, directory, owner, self._epoch),
            cacheable=cacheable,
        )

        async def action() -> Layer | None:
            async def fill(access: FileAccess) -> None:
                await access.make_directory(directory, owner)

            return await self._snapshot(state.chain, [fill], "WORKDIR")

        return await self._recorder.carry_out(work, action)

    async def _pieces(self, instruction: ast.Transfer, step: Step, slots: asyncio.Semaphore | None) -> list[Piece]:
        pieces: list[Piece] = []
        if instruction.sources:
            check_sources(instruction)
            place = await self._places(instruction.from_ if isinstance(instruction, ast.Copy) else "", step)
            if isinstance(instruction, ast.Add):
                pieces += await self._extras.pieces(instruction, place, step)
            else:
                # Not before the place is there: what makes it may wait for a slot too.
                async with slots or nullcontext():
                    pieces.append((await pick_all(instruction, place))[0])
        if instruction.files:
            pieces.append(inline(instruction.files, (self._epoch or 0) * 10**9))
        return pieces

    async def _alone(self, brought: Brought) -> Layer | None:
        """A layer by itself, as if there were nothing below: no link of the image is followed, no file of it is looked
        at."""
        fillers = _fillers(brought.requests, brought.pieces)
        return await self._snapshot(None, fillers, brought.instruction.keyword, loose=True)

    async def squashed(self, state: StageState, depth: int) -> Layer | None:
        """The layers above ``depth`` as one. Raises StorageError, LayerError."""
        content = self._recorder.images.content

        def filler(layer: Layer) -> Callable[[FileAccess], Awaitable[None]]:
            async def fill(access: FileAccess) -> None:
                await access.start_place(PlaceRequest(path="/", keep_kinds=False, layer=True))
                await access.put(_blocking(content.chunks(layer.blob.digest)))

            return fill

        base = state.stack[depth - 1].chain if depth else None
        return await self._snapshot(base, [filler(layer) for layer in state.stack[depth:]], "squash")

    async def _snapshot(
        self,
        chain: Digest | None,
        fillers: Sequence[Callable[[FileAccess], Awaitable[None]]],
        keyword: str,
        *,
        loose: bool = False,
    ) -> Layer | None:
        """The layer that workers, one after another, write on top of ``chain``; of a ``loose`` one there is the archive
        only."""
        container_id = ids.new_id()
        try:
            await settled(asyncio.to_thread(self._snapshots.prepare_container, container_id, chain))
            for fill in fillers:
                access = self._workspace.write_snapshot(container_id)
                try:
                    await fill(access)
                except FileAccessError as exc:
                    raise _translated(exc, keyword) from exc
                finally:
                    await access.close()
            latest = self._epoch * 10**9 if self._epoch is not None else None
            return await self._layers.capture(container_id, chain, self._recorder.lease, latest=latest, loose=loose)
        finally:
            await asyncio.shield(asyncio.to_thread(self._snapshots.remove_container, container_id))


def check_sources(instruction: ast.Transfer) -> None:
    """Raises BuildError where the sources (expanded) are not of the kind that they have to be."""
    if isinstance(instruction, ast.Copy) and any(map(is_http, instruction.sources)):
        raise CopyUrlError
    local = [source for source in instruction.sources if git_source(source) is None and not is_http(source)]
    if isinstance(instruction, ast.Add) and instruction.checksum and local:
        raise BuildError("checksum requires HTTP(S) or Git sources")


def _said(instruction: ast.Transfer, brought: Brought) -> str:
    """What the classic builder's history says."""
    flags = f"--chown={instruction.chown} " if instruction.chown else ""
    flags += f"--chmod={instruction.chmod} " if instruction.chmod else ""
    label = brought.pieces[0].label if len(brought.pieces) == 1 else "multi"
    return f"{NOP} {instruction.keyword} {flags}{label}:{brought.digest} in {instruction.destination} "


def _fillers(
    requests: Sequence[PlaceRequest], pieces: Sequence[Piece]
) -> list[Callable[[FileAccess], Awaitable[None]]]:
    """What writes each piece where its request says."""

    def filler(request: PlaceRequest, piece: Piece) -> Callable[[FileAccess], Awaitable[None]]:
        async def fill(access: FileAccess) -> None:
            await access.start_place(request)
            async with aclosing(piece.open()) as archive:
                await access.put(archive)

        return fill

    return [filler(request, piece) for request, piece in zip(requests, pieces, strict=True)]


async def _blocking(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk


async def pick_all(instruction: ast.Transfer, place: Place) -> tuple[Piece, list[Picked]]:
    """All sources as one piece, and what they are. Raises SourceNotFoundError, NoSourcesError, FileAccessError."""
    request = PickRequest(
        sources=[source_of(source, deep=place.buildkit) for source in instruction.sources],
        excludes=(*place.excludes, *exclusions(instruction.excludes)),
        owner=None if place.owned else (0, 0),
        parents=isinstance(instruction, ast.Copy) and instruction.parents,
    )
    piece, found = await picked(place.reader, request, owned=place.owned, memo=place.memo)
    there = {item.source for item in found}
    for number, source in enumerate(instruction.sources):
        if number in there:
            continue
        if has_pattern(source):
            if not found and not place.buildkit:
                raise NoSourcesError(instruction.keyword)
            continue
        raise SourceNotFoundError(instruction.keyword, source.lstrip("/"), place.shown)
    return piece, found


def exclusions(patterns: Sequence[str]) -> list[tuple[str, bool]]:
    """``--exclude``, as the worker wants it. Raises InvalidParameterError."""
    try:
        return Patterns(patterns).rules()
    except BadPatternError as exc:
        raise InvalidParameterError(str(exc)) from exc


def _destination(state: StageState, text: str) -> str:
    """Absolute; a slash at the end says that it is a directory."""
    whole = posixpath.join(state.directory, text)
    clean = posixpath.normpath("/" + whole.lstrip("/"))
    is_directory = text.endswith(("/", "/.")) or posixpath.basename(text) in (".", "..", "")
    return clean.rstrip("/") + "/" if is_directory else clean


def _translated(error: FileAccessError, keyword: str) -> BuildError:
    if error.kind == "not-directory" and keyword == "WORKDIR":
        return DirectoryError(str(error))
    if error.kind == "not-directory":
        return TransferError(keyword, f"cannot copy to non-directory: {error}")
    return TransferError(keyword, str(error))
