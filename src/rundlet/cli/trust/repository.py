"""One repository's trust data as the user has it: fetched, verified, kept, changed, published."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime

from rundlet.cli.exit import CommandError
from rundlet.cli.trust.passphrases import Passphrases
from rundlet.cli.trust.remote import Remote
from rundlet.trust import canonical
from rundlet.trust.errors import NoTrustDataError, TrustError
from rundlet.trust.keys import PrivateKey, decode_public, generate
from rundlet.trust.keystore import KeyStore
from rundlet.trust.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP, TOP_LEVEL, is_delegation
from rundlet.trust.signing import Draft
from rundlet.trust.updater import every_role, only_releases, update
from rundlet.util.fs import write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName
    from rundlet.trust.trusted_set import TrustedSet

FILE_LIMIT = 32 << 20


def key_store(context: Context, passphrases: Passphrases) -> KeyStore:
    """Docker's directory of private keys."""
    return KeyStore(f"{context.config_directory}/trust", passphrases.existing, context.warn)


class TrustedRepository:
    """``writing`` asks the server for the right to push as well."""

    def __init__(self, context: Context, name: ImageName, *, writing: bool) -> None:
        self.name = name
        self.gun = name.name
        self._context = context
        self._remote = Remote(context, name, "push,pull" if writing else "pull")
        self._directory = f"{context.config_directory}/trust/tuf/{self.gun}/metadata"
        self._passphrases = Passphrases(context)
        self.keys = key_store(context, self._passphrases)

    def explain(self, error: TrustError) -> CommandError:
        """The line for the user."""
        return CommandError(error.explain(self.gun))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def fetch(self, *, releases_only: bool = False) -> TrustedSet:
        """What the repository has signed now; kept for the next time. Raises TrustError."""
        exchange = update(
            self.gun,
            self._remote.host,
            self._cached(),
            datetime.now(UTC),
            only_releases if releases_only else every_role,
        )
        try:
            request = next(exchange)
            while True:
                request = exchange.send(self._remote.file(request.name, request.limit))
        except StopIteration as end:
            trusted: TrustedSet = end.value
        finally:
            self._remote.close()
        self._keep(trusted.files())
        return trusted

    def fetch_or_none(self) -> TrustedSet | None:
        """As :meth:`fetch`; None for a repository that has never been signed. Raises TrustError."""
        try:
            return self.fetch()
        except NoTrustDataError:
            return None

    def _cached(self) -> dict[str, bytes]:
        """By role; what was trusted last time."""
        found: dict[str, bytes] = {}
        for parent, _, names in os.walk(self._directory):
            for name in names:
                path = f"{parent}/{name}"
                role = path.removeprefix(f"{self._directory}/").removesuffix(".json")
                if name.endswith(".json") and (role in TOP_LEVEL or is_delegation(role)):
                    with open(path, "rb") as file:
                        found[role] = file.read(FILE_LIMIT)
        return found

    def _keep(self, files: dict[str, bytes]) -> None:
        try:
            for role, data in files.items():
                path = f"{self._directory}/{role}.json"
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
                write_atomic(path, data, durable=role == ROOT)
        except OSError as exc:
            # Without it the next rollback would not be noticed.
            raise CommandError(f"cannot keep trust data: {exc.filename}: {(exc.strerror or '').lower()}") from exc

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────

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
            shutil.rmtree(self._directory, ignore_errors=True)
            self._keep({ROOT: files[ROOT]})

    def _first_or_new(self, role: str) -> PrivateKey:
        found = self.keys.list(role)
        return self.keys.load(found[0].id) if found else self._new_key(role, "")

    def _new_key(self, role: str, gun: str) -> PrivateKey:
        key = generate(role, gun)
        self.keys.add(key, self._passphrases.new(key.id, role))
        return key
