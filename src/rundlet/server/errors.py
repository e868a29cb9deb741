"""The one mapping of errors to HTTP."""

import logging
from typing import NamedTuple

from aiohttp import web

from rundlet.errors import RundletError

log = logging.getLogger(__name__)


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
    log.error("unexpected error", exc_info=error)
    return Description(500, f"internal error: {type(error).__name__}: {error}")
