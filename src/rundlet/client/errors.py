"""What a request can end with."""


class ClientError(Exception):
    """The engine could not be asked, or did not answer in HTTP. ``str(error)`` is the line for the user."""


class ConnectError(ClientError):
    """Nothing accepts connections at ``host``."""

    def __init__(self, host: str, cause: OSError | None = None) -> None:
        self.host = host
        self.cause = cause
        super().__init__(f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")


class PermissionDeniedError(ConnectError):
    """The socket is there and this user may not open it."""

    def __init__(self, host: str, cause: OSError | None = None) -> None:
        super().__init__(host, cause)
        path = host.removeprefix("unix://")
        self.args = (
            f"permission denied while trying to connect to the Docker daemon socket at {host}: "
            f"dial unix {path}: connect: permission denied",
        )


class ApiError(ClientError):
    """The engine answered with an error status; ``message`` is its own sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"Error response from daemon: {message}")
        self.status = status
        self.message = message
