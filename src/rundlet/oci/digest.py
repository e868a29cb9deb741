"""Digests: ``<algorithm>:<hex>``, the names of content. See: OCI image-spec, descriptor.md#digests."""

import hashlib
import re
from typing import Final, Protocol, Self

from rundlet.errors import InvalidParameterError

_HEX_LENGTH: Final = {"sha256": 64, "sha384": 96, "sha512": 128}
ALGORITHMS: Final = frozenset(_HEX_LENGTH)
"""What a digest can be made with."""
_HEX: Final = re.compile(r"[0-9a-f]*", re.ASCII)
_SHAPE: Final = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)


class InvalidDigestError(InvalidParameterError):
    """The text is not a digest of a known algorithm."""

    reason = "invalid-digest"

    def __init__(self, value: str, why: str) -> None:
        super().__init__(why)
        self.value = value


class Hash(Protocol):
    """A running hash, as hashlib makes them."""

    def update(self, data: bytes | memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Digest:
    """An immutable, ordered, hashable digest. ``str()`` gives ``sha256:…``."""

    __slots__ = ("algorithm", "encoded")

    algorithm: str
    encoded: str

    def __init__(self, algorithm: str, encoded: str) -> None:
        object.__setattr__(self, "algorithm", algorithm)
        object.__setattr__(self, "encoded", encoded)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check and split ``text``. Raises InvalidDigestError with the words Docker uses."""
        algorithm, colon, encoded = text.partition(":")
        if not colon or not algorithm or not encoded:
            raise InvalidDigestError(text, "invalid checksum digest format")
        length = _HEX_LENGTH.get(algorithm)
        if length is None:
            known_shape = _SHAPE.fullmatch(text)
            raise InvalidDigestError(
                text, "unsupported digest algorithm" if known_shape else "invalid checksum digest format"
            )
        if len(encoded) != length:
            raise InvalidDigestError(text, "invalid checksum digest length")
        if not _HEX.fullmatch(encoded):
            raise InvalidDigestError(text, "invalid checksum digest format")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Self:
        """The digest of ``data``."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    @classmethod
    def finish(cls, hasher: Hash, algorithm: str = "sha256") -> Self:
        """The digest that a running hash has arrived at."""
        return cls(algorithm, hasher.hexdigest())

    def hasher(self) -> Hash:
        """A fresh hash of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def verifies(self, data: bytes) -> bool:
        """Whether ``data`` has this digest."""
        return hashlib.new(self.algorithm, data).hexdigest() == self.encoded

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, as tables show them."""
        return self.encoded[:12]

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Digest is immutable: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Digest is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Digest):
            return NotImplemented
        return self.encoded == other.encoded and self.algorithm == other.algorithm

    def __lt__(self, other: "Digest") -> bool:
        return (self.algorithm, self.encoded) < (other.algorithm, other.encoded)

    def __hash__(self) -> int:
        return hash(self.encoded)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.encoded}"

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"

    def __reduce__(self) -> tuple[type["Digest"], tuple[str, str]]:
        return (Digest, (self.algorithm, self.encoded))
