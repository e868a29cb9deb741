"""A start that failed, in the words that clients look for, with the exit code that ``docker run`` gives.

The shim reports {step, errno, message}; 127 is "no such command", 126 "found, but cannot be executed", 128 the rest.
"""

import errno

from rundlet.errors import InvalidParameterError
from rundlet.runtime.shimclient import ShimRequestError

CANNOT_EXECUTE = 126
OTHER = 128
_NOT_FOUND = (errno.ENOENT,)
_NOT_EXECUTABLE = (errno.EACCES, errno.ENOEXEC, errno.EPERM, errno.EISDIR, errno.ELIBBAD, errno.ENOTDIR)


class StartFailedError(InvalidParameterError):
    """The container's process could not be started."""

    reason = "start-failed"

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def start_error(error: ShimRequestError) -> StartFailedError:
    """The shim's sentence is what users know already; the exit code follows from the step and errno."""
    code = OTHER
    if error.step in ("exec", "cwd"):
        if error.errno in _NOT_FOUND:
            code = 127
        elif error.errno in _NOT_EXECUTABLE:
            code = CANNOT_EXECUTE
    return StartFailedError(str(error), code)
