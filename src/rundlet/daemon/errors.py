"""What can be wrong with the engine's settings."""

from rundlet.errors import InvalidParameterError, RundletError


class ConfigError(InvalidParameterError):
    """A flag or a key of the configuration file is wrong."""

    reason = "bad-configuration"


class StartError(RundletError):
    """The engine can't start, in one line for whoever started it."""

    reason = "engine-start-failed"
