"""One repository's trust data as the user has it: fetched, verified, kept, changed, published."""

from __future__ import annotations

from datetime import UTC, datetime

from rundlet.cli.exit import CommandError
from rundlet.cli.trust.passphrases import Passphrases
from rundlet.cli.trust.remote import Remote
from rundlet.trust import canonical
from rundlet.trust.cache import MetadataCache
from rundlet.trust.errors import NoTrustDataError, TrustError
from rundlet.trust.keys import PrivateKey, decode_public, generate
from rundlet.trust.keystore import KeyStore
from rundlet.trust.metadata import ROOT, SNAPSHOT, TARGETS, TIMESTAMP
from rundlet.trust.signing import Draft
from rundlet.trust.updater import every_role, only_releases, update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName
    from rundlet.trust.trusted_set import TrustedSet


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
        self._cache = MetadataCache(f"{context.config_directory}/trust/tuf")
        self._passphrases = Passphrases(context)
        self.keys = key_store(context, self._passphrases)

    def explain(self, error: TrustError) -> CommandError:
        """The line for the user."""
        return CommandError(error.explain(self.gun))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def fetch(self, *, releases_only: bool = False) -> TrustedSet:
        """What the repository has signed now; kept for the next time. Raises TrustError."""
        known = self._known()
        wanted = only_releases if releases_only else every_role
        exchange = update(self.gun, self._remote.host, known, datetime.now(UTC), wanted)
        try:
            request = next(exchange)
            while True:
                request = exchange.send(self._remote.file(request.name, request.limit))
        except StopIteration as end:
            trusted: TrustedSet = end.value
        finally:
            self._remote.close()
        self._keep(trusted.files(), known)
        return trusted

    def fetch_or_none(self) -> TrustedSet | None:
        """As :meth:`fetch`; None for a repository that has never been signed. Raises TrustError."""
        try:
            return self.fetch()
        except NoTrustDataError:
            return None

    def _known(self) -> dict[str, bytes]:
        try:
            return self._cache.load(self.gun)
        except OSError as exc:
            raise CommandError(f"cannot read trust data: {exc.filename}: {(exc.strerror or '').lower()}") from exc

    def _keep(self, files: dict[str, bytes], known: dict[str, bytes] | None = None) -> None:
        try:
            self._cache.save(self.gun, files, known)
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
            self._cache.forget(self.gun)
            self._keep({ROOT: files[ROOT]})

    def _first_or_new(self, role: str) -> PrivateKey:
        found = self.keys.list(role)
        return self.keys.load(found[0].id) if found else self._new_key(role, "")

    def _new_key(self, role: str, gun: str) -> PrivateKey:
        key = generate(role, gun)
        self.keys.add(key, self._passphrases.new(key.id, role))
        return key
