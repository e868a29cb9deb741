"""One repository's trust data as the user has it: fetched, verified, kept."""

from __future__ import annotations

from datetime import UTC, datetime

from rundlet.cli.exit import CommandError
from rundlet.cli.trust.remote import Remote
from rundlet.trust.cache import MetadataCache
from rundlet.trust.errors import NoTrustDataError, ServerUnreachableError
from rundlet.trust.metadata import ROOT, TIMESTAMP
from rundlet.trust.updater import every_role, only_releases, update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName
    from rundlet.trust.trusted_set import TrustedSet
    from rundlet.trust.updater import Exchange, Request


def _follow(exchange: Exchange, file: Callable[[str, int, Request | None], bytes | None]) -> TrustedSet:
    """What comes of ``exchange``, with the files that it asks for."""
    try:
        request = next(exchange)
        while True:
            request = exchange.send(file(request.name, request.limit, request.next))
    except StopIteration as end:
        trusted: TrustedSet = end.value
        return trusted


class TrustedRepository:
    """For reading; ``authoring`` has what signs."""

    def __init__(self, context: Context, name: ImageName, *, actions: str = "pull") -> None:
        self.name = name
        self.gun = name.name
        self._context = context
        self._remote = Remote(context, name, actions)
        self._cache = MetadataCache(f"{context.config_directory}/trust/tuf")

    def fetch(self, *, releases_only: bool = False) -> TrustedSet:
        """What the repository has signed now; kept for the next time. Raises TrustError."""
        known = self._known()
        wanted = only_releases if releases_only else every_role
        vouched = self._cache.vouched(self.gun, known)
        proofs = self._cache.proofs(self.gun)

        def exchange() -> Exchange:
            return update(self.gun, self._remote.host, known, datetime.now(UTC), wanted, vouched, proofs)

        try:
            trusted = _follow(exchange(), self._remote.file)
        except ServerUnreachableError as exc:
            # As with Docker's client: what was trusted last time is, until its timestamp expires.
            if not {ROOT, TIMESTAMP} <= known.keys():
                raise
            self._context.warn(f"WARNING: {exc}; using what was trusted last time, which might not be the latest")
            trusted = _follow(exchange(), lambda name, _limit, _next: known.get(name))
        finally:
            self._remote.close()
        files = trusted.files()
        self._keep(files, known)
        if vouched is None or files[ROOT] != known.get(ROOT):
            self._cache.vouch(self.gun, files[ROOT], trusted.vouched_until())
        self._cache.prove(self.gun, proofs)
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
