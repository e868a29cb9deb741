"""Plain layers become gzip when they are to travel.

``load`` keeps a layer as its archive has it: most loaded images never leave the machine. Before an image is pushed its
plain layers are compressed, and it gets a manifest that says so; its ID stays, as it is the config's digest. What a
registry is known to have stays as it is: an unmodified image keeps its digest.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from weakref import WeakValueDictionary

import msgspec

from rundlet.errors import NoSuchImageError
from rundlet.image.garbage import Garbage
from rundlet.image.holding import hold_image
from rundlet.image.kept import begun, keep
from rundlet.image.leases import Lease, Leases
from rundlet.image.records import Image, Layer, OnProgress, Progress
from rundlet.image.store import ImageStore
from rundlet.oci import mediatype
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.manifest import SIZE_LIMIT, Manifest, decode_any
from rundlet.storage.errors import LayerError
from rundlet.storage.feed import in_thread
from rundlet.storage.layer.compression import Inflater
from rundlet.storage.layer.gzipping import Gzipper
from rundlet.util.tasks import settled

_GZIP: Final = {
    mediatype.DOCKER_LAYER: mediatype.DOCKER_LAYER_GZIP,
    mediatype.OCI_LAYER: mediatype.OCI_LAYER_GZIP,
}
_INTERVAL: Final = 0.1


class LayerCompressor:
    """Made by the wiring; one per engine."""

    def __init__(self, store: ImageStore, leases: Leases, garbage: Garbage) -> None:
        self._store = store
        self._content = store.content
        self._leases = leases
        self._garbage = garbage
        self._locks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    async def compressed(self, image: Image, progress: OnProgress) -> Image:
        """``image`` with no plain layer left that no registry has.

        Not to be called under a lease on the image's blobs: what it no longer needs is deleted. One that is removed, or
        comes again otherwise, meanwhile stays what it is then. Raises LayerError, StorageError; failed or cancelled it
        leaves the image as it was.
        """
        if not self._plain(self._store.layers(image.id)):
            return image
        async with self._locks.setdefault(image.id, asyncio.Lock()):
            replaced: list[Digest] = []
            held: list[Digest] = []
            try:
                async with self._leases.lease(held) as lease:
                    replaced += await self._compress(image.id, lease, progress)
            finally:
                await self._garbage.release([], (*replaced, *held))
        return self._store.find(image.id) or image

    async def _compress(self, image_id: Digest, lease: Lease, progress: OnProgress) -> list[Digest]:
        """The blobs that the image needed before and does not need any more."""
        try:
            whole = await hold_image(self._store, lease, image_id)
        except NoSuchImageError:
            return []
        image, layers = whole.image, whole.layers
        plain = self._plain(layers)
        if not plain:
            return []
        data = await asyncio.to_thread(self._content.read, image.manifest.digest, SIZE_LIMIT)
        manifest = decode_any(data, image.manifest.media_type)
        if not isinstance(manifest, Manifest) or not _same(manifest, layers) or self._store.is_listed(image_id):
            return []
        made: dict[Digest, Descriptor] = {}
        for layer in layers:
            if layer.blob.digest in plain and layer.blob.digest not in made:
                made[layer.blob.digest] = await self._gzipped(layer, lease, progress)
        new = msgspec.structs.replace(manifest, layers=tuple(_instead(each, made) for each in manifest.layers))
        document = new.encode()
        descriptor = Descriptor.of(image.manifest.media_type, document)
        await lease.hold(descriptor.digest)
        await settled(asyncio.to_thread(self._content.write, document))
        stack = [msgspec.structs.replace(layer, blob=_instead(layer.blob, made)) for layer in layers]
        done = await self._store.replace_manifest(image, descriptor, stack)
        return [image.manifest.digest, *plain] if done else []

    def _plain(self, layers: Sequence[Layer]) -> set[Digest]:
        found = {layer.blob.digest for layer in layers if layer.blob.media_type in _GZIP}
        return {digest for digest in found if not self._store.has_travelled(digest)}

    async def _gzipped(self, layer: Layer, lease: Lease, progress: OnProgress) -> Descriptor:
        """``layer`` as gzip: of another image that has it so, or made now."""
        for blob in self._store.blobs_of(layer.chain):
            if blob.media_type not in _GZIP.values():
                continue
            await lease.hold(blob.digest)
            if await asyncio.to_thread(self._content.has, blob.digest):
                return blob
        writing = _Writing(self._content.chunks(layer.blob.digest), layer, progress)
        async with begun(self._content, "gzip") as ingest:
            await in_thread(writing.stop, writing.run, ingest.write)
            digest = await keep(ingest, lease)
            return Descriptor(_GZIP[layer.blob.media_type], digest, ingest.offset)


class _Writing:
    """Compresses one blob, in a thread; says how far it is."""

    def __init__(self, chunks: Iterator[bytes], layer: Layer, progress: OnProgress) -> None:
        self._loop = asyncio.get_running_loop()
        self._chunks = chunks
        self._layer = layer
        self._progress = progress
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def run(self, write: Callable[[bytes], object]) -> None:
        gzipper = Gzipper(write)
        inflater = Inflater()  # a type may lie: what is called plain may be compressed otherwise
        done, said = 0, self._loop.time()
        try:
            for chunk in self._chunks:
                if self._stopped:
                    raise LayerError("the push was cancelled")
                for piece in inflater.feed(chunk):
                    gzipper.put(piece)
                done += len(chunk)
                if self._loop.time() - said >= _INTERVAL:
                    said = self._loop.time()
                    self._loop.call_soon_threadsafe(self._say, done)
            for piece in inflater.finish():
                gzipper.put(piece)
            gzipper.finish()
        finally:
            gzipper.close()

    def _say(self, done: int) -> None:
        self._progress(Progress("Preparing", self._layer.diff_id.short, done, self._layer.blob.size))


def _same(manifest: Manifest, layers: Sequence[Layer]) -> bool:
    """Not where an image came a second time with another manifest: its layers stayed those of the first."""
    return [layer.digest for layer in manifest.layers] == [layer.blob.digest for layer in layers]


def _instead(blob: Descriptor, made: dict[Digest, Descriptor]) -> Descriptor:
    """The gzip of ``blob`` in its own family of types; annotations stay."""
    found = made.get(blob.digest)
    if found is None or blob.media_type not in _GZIP:
        return blob
    kind = _GZIP[blob.media_type]
    return msgspec.structs.replace(blob, media_type=kind, digest=found.digest, size=found.size, data=None)
