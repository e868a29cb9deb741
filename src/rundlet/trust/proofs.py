"""Signatures that were found good before: nobody has to look at them again, or load what looks at them.

That a key has signed these bytes stays true for ever. Whether the key counts now, and whether what it signed is still
wanted (thresholds, versions, times), is asked anew each time. What is remembered is kept beside the trusted root, and
is worth as much: who can write the one can write the other.
"""

from __future__ import annotations

import hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rundlet.trust.keys import PublicKey


class Proofs:
    """``known`` is what :attr:`found` was after the last time."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = frozenset(known)
        self.found: set[str] = set()
        """Of all good signatures that were asked for."""

    @property
    def changed(self) -> bool:
        """Whether there is something else to be remembered."""
        return self.found != self._known

    def verifies(self, key: PublicKey, payload: bytes, method: str, signature: bytes) -> bool:
        """As :meth:`PublicKey.verifies`."""
        name = _name(key, payload, method, signature)
        if name not in self._known and not key.verifies(payload, method, signature):
            return False
        self.found.add(name)
        return True


def _name(key: PublicKey, payload: bytes, method: str, signature: bytes) -> str:
    """One digest of everything that the verdict depends on; each part by its own, so that none runs into the next."""
    parts = (key.keytype.encode(), key.public, payload, method.encode(), signature)
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
