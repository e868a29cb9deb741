"""``rundlet exec``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.exit import CommandError, RunError, start_error_code
from rundlet.cli.options.environment import environment
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER COMMAND [ARG...]"
SHORT = "Execute a command in a running container"
ARGS = (2, -1)
INTERSPERSED = False
EXIT_GRACE = 3.0  # seconds
FLAGS = (
    ("detach", "d", "bool", "Detached mode: run command in the background"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("env", "e", "env", "Set environment variables"),
    ("env-file", "", "list", "Read in a file of environment variables"),
    ("interactive", "i", "bool", "Keep STDIN open even if not attached"),
    ("privileged", "", "bool", "Give extended privileges to the command"),
    ("tty", "t", "bool", "Allocate a pseudo-TTY"),
    ("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
    ("workdir", "w", "string", "Working directory inside the container"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    name, *command = call.args
    try:
        variables = environment(flags["env"], flags["env-file"])
    except RunError as exc:
        raise CommandError(exc.message) from exc
    body: dict[str, Any] = {
        "User": flags["user"],
        "Privileged": flags["privileged"],
        "Tty": flags["tty"],
        "AttachStdin": flags["interactive"] and not flags["detach"],
        "AttachStdout": not flags["detach"],
        "AttachStderr": not flags["detach"],
        "Env": variables,
        "WorkingDir": flags["workdir"],
        "Cmd": command,
    }
    if flags["detach"]:
        body["Detach"] = True
        return _detached(call, name, body)
    return _attached(call, name, body)


def _create(call: Invocation, name: str, body: dict[str, Any]) -> str:
    answer = call.context.session.post(container_path(name, "exec"), body=body)
    return str(answer["Id"])


def _detached(call: Invocation, name: str, body: dict[str, Any]) -> int:
    identifier = _create(call, name, body)
    call.context.session.post(f"/exec/{identifier}/start", body={"Detach": True, "Tty": body["Tty"]})
    return 0


def _start_code(error: ApiError) -> int:
    code = start_error_code(error.message)
    return code if code in (126, 127) else 1


def _attached(call: Invocation, name: str, body: dict[str, Any]) -> int:
    from rundlet.cli.attaching import DetachedError, Streams, check_input_terminal, detach_keys
    from rundlet.cli.signals import WINCH, SignalPipe
    from rundlet.cli.terminal import RawMode, size

    context = call.context
    tty, stdin = body["Tty"], body["AttachStdin"]
    check_input_terminal(tty, stdin=stdin)
    chosen, keys = detach_keys(context, call.flags["detach-keys"])
    if chosen:
        body["DetachKeys"] = chosen
    start: dict[str, Any] = {"Detach": False, "Tty": tty}
    if tty:
        rows, columns = size()
        if rows and columns:
            body["ConsoleSize"] = start["ConsoleSize"] = [rows, columns]
    identifier = _create(call, name, body)
    try:
        stream = context.session.hijack(f"/exec/{identifier}/start", body=start)
    except ApiError as exc:
        raise CommandError(str(exc), _start_code(exc)) from exc
    streams = Streams(context, f"/exec/{identifier}/resize", tty=tty, stdin=stdin)
    with SignalPipe((WINCH,) if tty else ()) as signals, RawMode(0 if tty and stdin else -1) as raw:
        if tty:
            streams.resize()
        streams.pump(stream, keys, signals, None, raw)
    if keys.detached:
        raise DetachedError
    return _exit_code(call, identifier)


def _exit_code(call: Invocation, identifier: str) -> int:
    """The command's exit code. Its output may end a moment before the engine knows that it did."""
    import time

    deadline = time.monotonic() + EXIT_GRACE
    while True:
        found = call.context.session.get(f"/exec/{identifier}/json")
        if not found.get("Running") or time.monotonic() > deadline:
            return int(found.get("ExitCode") or 0)
        time.sleep(0.005)
