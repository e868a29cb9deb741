"""The one mapping of errors to HTTP."""

import errno
import logging
from typing import Final, NamedTuple

from aiohttp import web

from rundlet.errors import RundletError
from rundlet.util import fs

log = logging.getLogger(__name__)

_LACKING: Final = {
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EROFS", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS")
}
"""What a machine may lack at any moment, in whatever is done: no fault of the code that met it."""


class Description(NamedTuple):
    """The HTTP status and the message for the client."""

    status: int
    message: str


def describe(error: BaseException) -> Description:
    """What the client is told. Errors that nobody raised on purpose are logged with their traceback."""
    if isinstance(error, RundletError):
        return Description(error.status, error.message)
    if isinstance(error, web.HTTPException):
        return Description(error.status, error.reason)
    if isinstance(error, OSError) and error.errno in _LACKING:
        log.error("%s", error)
        return Description(500, fs.failure(error))
    log.error("unexpected error", exc_info=error)
    return Description(500, f"internal error: {type(error).__name__}: {error}")
