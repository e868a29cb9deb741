"""What the image room asks of storage: narrow, so that tests can stand in for it."""

from collections.abc import Iterator
from typing import Protocol

from rundlet.oci.digest import Digest


class Blobs(Protocol):
    """Bytes by digest, as ``storage.content`` keeps them."""

    def read(self, digest: Digest, limit: int) -> bytes:
        """The whole verified blob, refused when it is larger than ``limit`` bytes."""
        ...

    def delete(self, digest: Digest) -> None: ...

    def iterate(self) -> Iterator[Digest]: ...


class Layers(Protocol):
    """Layers' directories, as ``storage.snapshot`` keeps them."""

    async def remove_layer(self, chain: Digest) -> None: ...

    def in_use(self, chain: Digest) -> bool:
        """Whether a container is made of it."""
        ...

    def chains(self) -> Iterator[Digest]: ...
