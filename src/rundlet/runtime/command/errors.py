"""What a command line ends with."""


class CommandError(Exception):
    """``str()`` is the whole message; ``code`` the exit status."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CommandError):
    """The command line itself makes no sense."""


class RefusedError(CommandError):
    """Something that the specification or another runtime knows, and this one doesn't do."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not supported by rundlet-runtime")


class MissingError(CommandError):
    def __init__(self, container: str) -> None:
        super().__init__(f'container "{container}" does not exist')


class EndedError(CommandError):
    def __init__(self) -> None:
        super().__init__("container not running")
