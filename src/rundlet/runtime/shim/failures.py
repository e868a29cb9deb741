"""What is said when a container or an exec can't be started: runc's words, which Docker's users and clients know."""

import errno
import os
from typing import Any, Final

from rundlet.runtime.init.report import Report

_CREATE: Final = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: "
)
_INIT: Final = "unable to start container process: error during container init: "
# A name may be 128 KiB long; a message to the engine, and the exit record, may not.
_LONGEST_NAME: Final = 1024
_EXEC: Final = "OCI runtime exec failed: exec failed: unable to start container process: "
_LIMIT: Final = "error setting cgroup config for procHooks process: write "
_BREAKOUT: Final = (
    "mkdir or chdir: current working directory is outside of container mount namespace root -- "
    "possible container breakout detected"
)


class StartError(Exception):
    """A start that failed: the step, errno (0: none) and what the user is told."""

    def __init__(self, step: str, number: int, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.errno = number
        self.message = message

    def wire(self) -> dict[str, Any]:
        return {"step": self.step, "errno": self.errno, "message": self.message}


def from_report(report: Report | None, program: str, *, is_exec: bool) -> StartError:
    """The error for what init reported; None: it ended without a word."""
    prefix = _EXEC if is_exec else _CREATE + _INIT
    step, number, text = explain(report, program)
    if step == "user" and not number:
        return StartError(step, number, text)
    return StartError("exec" if step == "lookup" else step, number, f"{prefix}{text}: unknown")


def explain(report: Report | None, program: str) -> tuple[str, int, str]:
    """Step, errno (0: none) and what is to be said, without the words around it."""
    program = program[:_LONGEST_NAME]
    if report is None:
        return "internal", 0, "init ended before the program was started"
    step, number = report.step, report.errno
    if step == "lookup" and number == 0:
        number = errno.ENOENT
        text = f'exec: "{program}": executable file not found in $PATH'
    elif step == "lookup" and number == errno.ENOENT:
        text = f'exec: "{program}": stat {report.detail}: {_said(number)}'
    elif step == "lookup" and number == errno.EISDIR:
        # Today's clients look for the first half, those of before 2023 for the second.
        text = f'exec: "{program}": {_said(number)}: {_said(errno.EACCES)}'
    elif step == "lookup":
        text = f'exec: "{program}": {_said(number)}'
    elif step == "exec":
        text = f"exec {report.detail or program}: {_said(number)}"
    elif step == "cwd" and number in (errno.EXDEV, errno.ELOOP):
        text = f'chdir to cwd ("{report.detail}") set in config.json failed: {_BREAKOUT}'
    elif step == "cwd":
        text = f'mkdir or chdir to cwd ("{report.detail}") failed: {_said(number)}'
    elif step == "mount":
        text = f'error mounting to rootfs at "{report.detail}": {_said(number)}'
    elif step == "cgroup" and report.detail.startswith("/"):
        text = f"{_LIMIT}{report.detail}: {_said(number)}"
    elif step in ("user", "hook") and not number:
        text = report.detail
    elif number:
        text = f"{step}: {report.detail + ': ' if report.detail else ''}{_said(number)}"
    else:
        text = f"{step}: {report.detail}"
    return step, number, text


def from_exception(step: str, exc: BaseException) -> StartError:
    """The error for what went wrong in the shim itself."""
    if isinstance(exc, StartError):
        return exc
    if isinstance(exc, OSError):
        name = f"{exc.filename}: " if exc.filename else ""
        return StartError(step, exc.errno or 0, f"{_CREATE}{step}: {name}{exc.strerror or exc}: unknown")
    return StartError(step, 0, f"{_CREATE}{exc}: unknown")


def report(what: str, exc: BaseException) -> None:
    """Say on standard error, the launcher's log, what went wrong and where. Never raises.

    The traceback module is not used: it would read source files, perhaps the image's.
    """
    lines = [f"{what}: {exc!r}"]
    frame = exc.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
    try:
        os.write(2, ("\n".join(lines) + "\n").encode("utf-8", "replace"))
    except OSError:
        pass  # a full disk: nobody is left to be told


def _said(number: int) -> str:
    """The C library's text as Go prints it."""
    text = os.strerror(number)
    return text[:1].lower() + text[1:]
