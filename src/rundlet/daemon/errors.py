"""What can be wrong with the engine's settings."""

from rundlet.errors import InvalidParameterError, RundletError


class ConfigError(InvalidParameterError):
    """A flag or a key of the configuration file is wrong."""

    reason = "bad-configuration"


class FlagError(ConfigError):
    """The command line is wrong: what is complained about, and where to look."""

    reason = "bad-flag"

    def __init__(self, complaint: str) -> None:
        super().__init__(f"{complaint}\nSee 'rundlet engine run --help'.")


class StartError(RundletError):
    """The engine can't start, in one line for whoever started it."""

    reason = "engine-start-failed"
