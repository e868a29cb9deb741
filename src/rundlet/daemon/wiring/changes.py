"""What of the configuration a running engine can have otherwise, and who is told."""

import logging
from dataclasses import dataclass

from rundlet.daemon.config import Config
from rundlet.daemon.rootless.link import KeeperLink
from rundlet.daemon.wiring.grounds import hosts, logins
from rundlet.daemon.wiring.settings import settings
from rundlet.engine.context import Context
from rundlet.image.layers import LayerImporter
from rundlet.image.push import Pusher
from rundlet.registry import Registry
from rundlet.registry.retry import Retry

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Changes:
    """``outside``: of an ordinary user's engine."""

    context: Context
    registry: Registry
    layers: LayerImporter
    pusher: Pusher
    outside: KeeperLink | None

    def apply(self, config: Config) -> None:
        """All or, where it raises, nothing. Raises ConfigError, InvalidMirrorError, RegistriesError."""
        chosen, servers, credentials = settings(config, self.outside), hosts(config), logins(config)
        self.context.current.settings = chosen
        self.registry.reconfigure(servers, Retry(attempts=config.moving.attempts), credentials)
        self.layers.limit(config.moving.downloads)
        self.pusher.limit(config.moving.uploads)
        tell_of_limits(config, "Reset ")
        _log.debug("Reset Shutdown Timeout: %d", config.shutdown_timeout)


def tell_of_limits(config: Config, verb: str = "") -> None:
    """Of pulls and pushes, in dockerd's words: who has changed them looks for these in the log."""
    _log.debug("%sMax Concurrent Downloads: %d", verb, config.moving.downloads)
    _log.debug("%sMax Concurrent Uploads: %d", verb, config.moving.uploads)
    _log.debug("%sMax Download Attempts: %d", verb, config.moving.attempts)


def check(config: Config) -> None:
    """What an engine would not start with. Raises ConfigError, InvalidMirrorError, RegistriesError."""
    settings(config, None)
    hosts(config)
    logins(config)
