"""COPY, ADD and WORKDIR: files into a snapshot by confined workers, which become the step's layer."""

import asyncio
import posixpath
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.errors import (
    BuildError,
    DirectoryError,
    ManySourcesError,
    NoSourcesError,
    SourceNotFoundError,
    TransferError,
)
from rundlet.builder.globs import has_pattern, source_of
from rundlet.builder.ignore import BadPatternError, Patterns
from rundlet.builder.layers import LayerMaker
from rundlet.builder.memo import PickMemo
from rundlet.builder.modes import parse_chmod
from rundlet.builder.pieces import Piece, inline, picked
from rundlet.builder.report import Step
from rundlet.builder.state import StageState, key_of
from rundlet.builder.steps import NOP, Recorder, Work
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

    async def transfer(
        self, state: StageState, instruction: ast.Transfer, step: Step, *, cacheable: bool
    ) -> StageState:
        """The state after COPY or ADD (expanded). Raises BuildError, StorageError, LayerError."""
        keyword = instruction.keyword
        destination = _destination(state, instruction.destination)
        chmod = parse_chmod(instruction.chmod) if instruction.chmod else None
        try:
            pieces = await self._pieces(instruction, step)
        except FileAccessError as exc:
            raise TransferError(keyword, str(exc)) from exc
        rename = not destination.endswith("/") and len(pieces) == 1 and self._may_rename(instruction, pieces[0])
        if not rename and (len(pieces) > 1 or pieces[0].label == "multi") and not destination.endswith("/"):
            raise ManySourcesError(keyword)
        requests = [
            PlaceRequest(
                path=destination,
                rename=rename,
                own=None if piece.owned or instruction.chown else (0, 0),
                user=instruction.chown,
                chmod=chmod,
                keep_kinds=piece.keep_kinds and self._buildkit,
                enclosed=piece.enclosed,
            )
            for piece in pieces
        ]
        digest = pieces[0].digest if len(pieces) == 1 else key_of(*(piece.digest for piece in pieces))
        label = pieces[0].label if len(pieces) == 1 else "multi"
        flags = f"--chown={instruction.chown} " if instruction.chown else ""
        flags += f"--chmod={instruction.chmod} " if instruction.chmod else ""

        async def move(layer: Layer) -> Layer:
            return await self._layers.moved(layer, state.chain, self._recorder.lease)

        work = Work(
            step=step,
            before=state,
            state=state,
            created_by=f"{NOP} {keyword} {flags}{label}:{digest} in {instruction.destination} ",
            result=key_of(
                "transfer",
                None if instruction.link else state.chain,
                digest,
                msgspec.to_builtins(requests),
                self._epoch,
            ),
            cacheable=cacheable,
            move=move if instruction.link else None,
        )

        async def action() -> Layer | None:
            return await self._written(state, requests, pieces, keyword, link=instruction.link)

        return await self._recorder.carry_out(work, action)

    def _may_rename(self, instruction: ast.Transfer, piece: Piece) -> bool:
        """Whether the destination can be a file's new name. Of all that one pattern fits the last is there in the end
        with BuildKit."""
        one_word = len(instruction.sources) + len(instruction.files) == 1
        return piece.single or (self._buildkit and one_word and piece.plain)

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
            created_by=f"{NOP} WORKDIR {directory}",
            result=key_of("directory", state.chain, directory, owner, self._epoch),
            cacheable=cacheable,
        )

        async def action() -> Layer | None:
            async def fill(access: FileAccess) -> None:
                await access.make_directory(directory, owner)

            return await self._snapshot(state.chain, [fill], "WORKDIR")

        return await self._recorder.carry_out(work, action)

    async def _pieces(self, instruction: ast.Transfer, step: Step) -> list[Piece]:
        pieces: list[Piece] = []
        if instruction.sources:
            copy = instruction if isinstance(instruction, ast.Copy) else None
            place = await self._places(copy.from_ if copy is not None else "", step)
            if isinstance(instruction, ast.Add):
                pieces += await self._extras.pieces(instruction, place, step)
            else:
                pieces.append((await pick_all(instruction, place))[0])
        if instruction.files:
            pieces.append(inline(instruction.files, (self._epoch or 0) * 10**9))
        return pieces

    async def _written(
        self,
        state: StageState,
        requests: Sequence[PlaceRequest],
        pieces: Sequence[Piece],
        keyword: str,
        *,
        link: bool,
    ) -> Layer | None:
        def filler(request: PlaceRequest, piece: Piece) -> Callable[[FileAccess], Awaitable[None]]:
            async def fill(access: FileAccess) -> None:
                await access.start_place(request)
                async with aclosing(piece.open()) as archive:
                    await access.put(archive)

            return fill

        fillers = [filler(request, piece) for request, piece in zip(requests, pieces, strict=True)]
        if link:
            # By itself, as if there were nothing below: no link of the image is followed, no file of it is looked at.
            return await self._snapshot(None, fillers, keyword, onto=state.chain)
        return await self._snapshot(state.chain, fillers, keyword)

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
        onto: Digest | None = None,
    ) -> Layer | None:
        """The layer that workers, one after another, write on top of ``chain``; it goes ``onto`` another if given."""
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
            return await self._layers.capture(
                container_id, onto or chain, self._recorder.lease, latest=latest, loose=onto is not None
            )
        finally:
            await asyncio.shield(asyncio.to_thread(self._snapshots.remove_container, container_id))


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
