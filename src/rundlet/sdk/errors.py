"""What a call can end with. All are :class:`EngineError`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.client.errors import ApiError
    from rundlet.sdk.models import Result


class EngineError(Exception):
    """The engine refused, failed, or could not be reached. ``str(error)`` is one line for a person.

    ``status`` is the HTTP status, 0 where there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotReachableError(EngineError):
    """Nothing answers where the engine should be, and none could be started."""


class BadRequestError(EngineError):
    """400: the request makes no sense."""


class NotFoundError(EngineError):
    """404: no such container, image, network, volume or file."""


class ConflictError(EngineError):
    """409: not in the state that something is in."""


class DeniedError(EngineError):
    """401 or 403: a registry, the engine or its policy does not allow it."""


class NotSupportedError(EngineError):
    """501: Rundlet does not do this."""


class ExitError(EngineError):
    """A command that was to succeed ended with another status than 0. ``result`` has all of it."""

    def __init__(self, command: str, result: Result, code: int, output: str) -> None:
        last = output.strip().splitlines()[-1:] or [""]
        super().__init__(f"{command} ended with status {code}" + (f": {last[0]}" if last[0] else ""))
        self.result = result
        self.code = code


class WaitTimeoutError(EngineError):
    """What was waited for did not happen in time."""


_BY_STATUS = {
    400: BadRequestError,
    401: DeniedError,
    403: DeniedError,
    404: NotFoundError,
    409: ConflictError,
    501: NotSupportedError,
}


def from_status(error: ApiError) -> EngineError:
    """The error for an answer's status."""
    kind = _BY_STATUS.get(error.status, EngineError)
    return kind(error.message, error.status)
