"""The servers of one pull in the order in which they are asked: mirrors first, then the registry itself.

The order is that of the pull. A mirror that fails goes to the end, so that not every layer has to wait for it; one that
sent something wrong is not asked again, nor is the one that said what a tag means when nobody has that. The registry
itself always stays, and its words are those that are told when nobody can help.
"""

import logging
from collections.abc import Iterator, Sequence

from rundlet.errors import RundletError
from rundlet.registry.connection import Connection
from rundlet.registry.errors import RegistryError
from rundlet.transport.auth import AuthenticationError
from rundlet.transport.errors import TransportError

_log = logging.getLogger(__name__)


class Sources:
    """Of one :class:`~rundlet.registry.fetcher.Fetcher`."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._servers = list(connections)

    def each(self) -> Iterator[tuple[Connection, Connection]]:
        """Every server, as it is known here and as it is to be asked: a mirror in haste while others follow."""
        servers = list(self._servers)
        for server in servers:
            hasty = server.endpoint.mirror and server is not servers[-1]
            yield server, server.in_haste() if hasty else server

    def prefer(self, server: Connection) -> None:
        """``server`` answered: it is asked first from now on."""
        if server in self._servers:
            self._servers.remove(server)
            self._servers.insert(0, server)

    def failed(self, server: Connection, exc: RundletError, what: str) -> None:
        """``server`` did not give ``what``. That a mirror just has not got it is nothing against it."""
        if not server.endpoint.mirror or server not in self._servers:
            return
        if not isinstance(exc, TransportError | RegistryError | AuthenticationError):
            self.drop(server, exc, what)
        elif not (isinstance(exc, RegistryError) and exc.answered == 404):
            _log.warning("mirror %s: %s: %s; others are asked", server.endpoint.url, what, exc)
            self._servers.remove(server)
            self._servers.append(server)

    def drop(self, server: Connection, exc: RundletError, what: str) -> bool:
        """Never ask ``server`` again; whether it is a mirror."""
        if server.endpoint.mirror and server in self._servers:
            _log.warning("mirror %s is not used for the rest of this pull: %s: %s", server.endpoint.url, what, exc)
            self._servers.remove(server)
        return server.endpoint.mirror


def own_words(refusals: Sequence[tuple[Connection, RundletError]]) -> RundletError:
    """What the registry itself said, of all that was answered."""
    return next((exc for server, exc in refusals if not server.endpoint.mirror), refusals[-1][1])
