"""``rmi``: which names and images go, and when Docker's rules refuse.

A name is untagged first; the image itself goes when that was its last name and neither children nor containers need it.
By ID, an image with names in several repositories is refused. Soft conflicts (names, stopped containers) yield to
force, hard ones (children, running containers) don't.
"""

import asyncio
from collections.abc import Sequence

from rundlet.image.errors import ImageConflictError, ReferenceInUseError
from rundlet.image.garbage import Garbage
from rundlet.image.records import Image, Removal, Usage
from rundlet.image.store import ImageStore
from rundlet.oci.digest import Digest
from rundlet.oci.reference import Reference
from rundlet.util.ids import short
from rundlet.util.tasks import settled


class Remover:
    """Made by the wiring. Removals run one after another, so that two of the same image don't meet halfway."""

    def __init__(self, store: ImageStore, garbage: Garbage, usage: Usage) -> None:
        self._store = store
        self._garbage = garbage
        self._usage = usage
        self._lock = asyncio.Lock()

    async def remove(
        self, reference_or_id: str, *, force: bool = False, prune: bool = True, still: Image | None = None
    ) -> list[Removal]:
        """Untag, and delete when nothing is left that needs the image.

        ``prune`` also deletes parents that nothing else needs. With ``still``, the image as it was when it was chosen,
        nothing is done when the name is another image's by now or the image has got a tag. Raises NoSuchImageError,
        ReferenceInUseError, ImageConflictError. What went before an error stays gone.
        """
        async with self._lock:
            image = self._store.get(reference_or_id)
            if still is not None and (image.id != still.id or not set(image.tags) <= set(still.tags)):
                return []
            records: list[Removal] = []
            by_name = not is_id_prefix(image.id, reference_or_id)
            if by_name:
                if await self._untag_name(image, Reference.parse(reference_or_id), force, records):
                    return records
            else:
                await self._untag_single(image, force, records)
            await self._delete(image.id, records, force=force, prune=prune, quiet=by_name)
            return records

    async def _untag_name(self, image: Image, named: Reference, force: bool, records: list[Removal]) -> bool:
        """Remove one name and, with a repository's last tag, its digests. True when others are left."""
        names = (*image.tags, *image.digests)
        if not force and is_single(names):
            users = self._usage.users(image.id)
            if users:
                raise ReferenceInUseError(named.familiar, users[0].container_id, image.id)
        if named.digest is not None:
            gone = [named.with_digest(named.digest)]
        else:
            gone = [named.with_default_tag()]
            same = [tag for tag in image.tags if tag.name == named.name and tag != gone[0]]
            if not same:
                gone += [digest for digest in image.digests if digest.name == named.name]
        await self._untag(image, gone, records)
        return len(names) > len(gone)

    async def _untag_single(self, image: Image, force: bool, records: list[Removal]) -> None:
        names = (*image.tags, *image.digests)
        if is_single(names):
            self._check(image.id, soft=not force, names=())
            await self._untag(image, names, records)

    async def _untag(self, image: Image, names: Sequence[Reference], records: list[Removal]) -> None:
        await self._store.untag(names)
        records += [Removal("untagged", name.familiar, image.id) for name in names]

    async def _delete(self, image_id: Digest, records: list[Removal], *, force: bool, prune: bool, quiet: bool) -> None:
        image = self._store.find(image_id)
        if image is None:
            return
        names = (*image.tags, *image.digests)
        try:
            self._check(image_id, soft=not force, names=names)
        except ImageConflictError as exc:
            # A parent that others are built on stays without a word.
            if quiet and (not image.dangling or exc.used or self._store.children(image_id)):
                return
            raise
        await self._untag(image, names, records)
        removed = await settled(self._gone(image_id))
        records.append(Removal("deleted", str(image_id), image_id))
        records += [Removal("deleted", str(chain)) for chain in removed]
        if prune and image.parent is not None:
            await self._delete(image.parent, records, force=False, prune=True, quiet=True)

    async def _gone(self, image_id: Digest) -> list[Digest]:
        """Whoever asked may go away in between: without its row nothing would say any more what the image left."""
        return await self._garbage.release(*await self._store.forget(image_id))

    def _check(self, image_id: Digest, *, soft: bool, names: Sequence[Reference]) -> None:
        """Raises ImageConflictError; with ``soft`` also for what force would allow."""
        if self._store.children(image_id):
            raise ImageConflictError(image_id, "image has dependent child images", hard=True)
        users = self._usage.users(image_id)
        running = next((user for user in users if user.running), None)
        if running is not None:
            why = f"image is being used by running container {short(running.container_id)}"
            raise ImageConflictError(image_id, why, hard=True, used=True)
        if soft and names:
            raise ImageConflictError(image_id, "image is referenced in multiple repositories")
        if soft and users:
            why = f"image is being used by stopped container {short(users[0].container_id)}"
            raise ImageConflictError(image_id, why, used=True)


def is_id_prefix(image_id: Digest, text: str) -> bool:
    """Whether a user who typed ``text`` meant the image by its ID."""
    return bool(text) and (str(image_id).startswith(text) or image_id.encoded.startswith(text))


def is_single(names: Sequence[Reference]) -> bool:
    """Whether all names are of one repository with at most one tag among them; False for none at all."""
    if len(names) <= 1:
        return len(names) == 1
    tags = [name for name in names if name.digest is None]
    if len(tags) > 1:
        return False
    repositories = {name.name for name in names if name.digest is not None}
    first = tags[0] if tags else names[0]
    return repositories == {first.name}
