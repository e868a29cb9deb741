"""Where trusted metadata are kept between two looks: ``<directory>/<repository>/metadata/<role>.json``, as Docker does.

What is kept is the memory against rollbacks: a version that was seen once is the least that is accepted.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime

from rundlet.trust.metadata import ROOT, TOP_LEVEL, is_delegation
from rundlet.trust.proofs import Proofs
from rundlet.util.fs import write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

_LIMIT: Final = 32 << 20


class MetadataCache:
    """``directory`` is made when something is kept. Methods block for small files."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def _of(self, gun: str) -> str:
        return f"{self._directory}/{gun}/metadata"

    def load(self, gun: str) -> dict[str, bytes]:
        """By role. Raises OSError for what is there and can't be read: forgetting it would switch protection off."""
        directory = self._of(gun)
        found: dict[str, bytes] = {}
        for parent, _, names in os.walk(directory):
            for name in names:
                path = f"{parent}/{name}"
                role = path.removeprefix(f"{directory}/").removesuffix(".json")
                if name.endswith(".json") and (role in TOP_LEVEL or is_delegation(role)):
                    with open(path, "rb") as file:
                        found[role] = file.read(_LIMIT)
        return found

    def save(self, gun: str, files: dict[str, bytes], known: dict[str, bytes] | None = None) -> None:
        """Keep ``files``, but for those that are ``known`` to be there. Raises OSError."""
        for role, data in files.items():
            if known is not None and known.get(role) == data:
                continue
            path = f"{self._of(gun)}/{role}.json"
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            write_atomic(path, data, durable=role == ROOT)

    def vouched(self, gun: str, known: Mapping[str, bytes]) -> datetime | None:
        """Until when the certificates of the root in ``known`` are good, as it was noted with that very root."""
        try:
            with open(self._note(gun), "rb") as file:
                digest, _, until = file.read(200).decode().strip().partition(" ")
            if ROOT in known and digest == hashlib.sha256(known[ROOT]).hexdigest():
                return datetime.fromisoformat(until)
        except (OSError, ValueError):
            pass
        return None

    def vouch(self, gun: str, root: bytes, until: datetime) -> None:
        """Raises OSError."""
        text = f"{hashlib.sha256(root).hexdigest()} {until.isoformat()}\n"
        write_atomic(self._note(gun), text.encode(), durable=False)

    def proofs(self, gun: str) -> Proofs:
        """What was noted by :meth:`prove`; nothing where that can't be read."""
        try:
            with open(self._proven(gun), "rb") as file:
                return Proofs(file.read(_LIMIT).decode().split())
        except (OSError, ValueError):
            return Proofs()

    def prove(self, gun: str, proofs: Proofs) -> None:
        """Note which signatures are good, if that is news. Raises OSError."""
        if proofs.changed:
            text = "".join(f"{name}\n" for name in sorted(proofs.found))
            write_atomic(self._proven(gun), text.encode(), durable=False)

    def _proven(self, gun: str) -> str:
        # No repository's name has capital letters: the file is never in the way of a repository below.
        return f"{self._directory}/{gun}/Proven"

    def _note(self, gun: str) -> str:
        return f"{self._directory}/{gun}/root-vouched"

    def forget(self, gun: str) -> None:
        """For a repository that was begun anew by its owner."""
        import shutil

        shutil.rmtree(self._of(gun), ignore_errors=True)
