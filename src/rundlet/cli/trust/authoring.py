"""Changing a repository's trust data: its author's keys and passphrases, and what is made with them."""

from __future__ import annotations

from datetime import UTC, datetime

from rundlet.cli.trust.passphrases import Passphrases
from rundlet.cli.trust.repository import TrustedRepository
from rundlet.trust import canonical
from rundlet.trust.keys import PrivateKey, decode_public, generate
from rundlet.trust.keystore import KeyStore
from rundlet.trust.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from rundlet.trust.signing import Draft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName
    from rundlet.trust.trusted_set import TrustedSet


def key_store(context: Context, passphrases: Passphrases) -> KeyStore:
    """Docker's directory of private keys."""
    return KeyStore(f"{context.config_directory}/trust", passphrases.existing, context.warn)


class AuthoredRepository(TrustedRepository):
    """A repository that this user signs for."""

    def __init__(self, context: Context, name: ImageName) -> None:
        super().__init__(context, name, actions="push,pull")
        self._passphrases = Passphrases(context)
        self.keys = key_store(context, self._passphrases)

    def draft(self, trusted: TrustedSet) -> Draft:
        return Draft.of(trusted, datetime.now(UTC))

    def initial(self) -> Draft:
        """For a repository without trust data: root key found or made, repository key made. Raises TrustError."""
        root = self._first_or_new("root")
        targets = self._new_key(TARGETS, self.gun)
        snapshot, timestamp = (
            decode_public(canonical.decode(self._remote.key(role), f"{role} key"), f"{role} key")
            for role in (SNAPSHOT, TIMESTAMP)
        )
        return Draft.initial(self.gun, root, targets.public, snapshot, timestamp, datetime.now(UTC))

    def signer_key(self, name: str) -> PrivateKey:
        """The first key of a signer that is here, else a new one. Raises TrustError."""
        return self._first_or_new(name)

    def publish(self, draft: Draft) -> None:
        """Sign and upload. Raises TrustError."""
        files = draft.finish(self.keys)
        try:
            self._remote.upload(files)
        finally:
            self._remote.close()
        if ROOT in files:
            # A beginning: what was trusted before, if anything, is no longer at the server.
            self._cache.forget(self.gun)
            self._keep({ROOT: files[ROOT]})

    def _first_or_new(self, role: str) -> PrivateKey:
        found = self.keys.list(role)
        return self.keys.load(found[0].id) if found else self._new_key(role, "")

    def _new_key(self, role: str, gun: str) -> PrivateKey:
        key = generate(role, gun)
        self.keys.add(key, self._passphrases.new(key.id, role))
        return key
