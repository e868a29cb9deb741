"""``rundlet start``."""

from __future__ import annotations

from rundlet.cli.each import container_path, for_each
from rundlet.cli.exit import CommandError, start_error_code
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Start one or more stopped containers"
ARGS = (1, -1)
FLAGS = (
    ("attach", "a", "bool", "Attach STDOUT/STDERR and forward signals"),
    ("checkpoint", "", "string", "Restore from this checkpoint"),
    ("checkpoint-dir", "", "string", "Use a custom checkpoint storage directory"),
    ("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    ("interactive", "i", "bool", "Attach container's STDIN"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    for name in ("checkpoint", "checkpoint-dir"):
        if flags.get(name):
            raise CommandError(f"--{name} is not supported by Rundlet")
    if flags["attach"] or flags["interactive"]:
        return _attached(call)
    query = {"detachKeys": flags["detach-keys"]} if flags["detach-keys"] else None
    failed: list[str] = []

    def start(name: str) -> None:
        try:
            call.context.session.post(container_path(name, "start"), query)
        except ApiError:
            failed.append(name)
            raise

    if for_each(call.context, call.args, start):
        raise CommandError(f"Error: failed to start containers: {', '.join(failed or call.args)}")
    return 0


def _attached(call: Invocation) -> int:
    """-a or -i: one container, in the foreground."""
    from rundlet.cli.attaching import DetachedError, Foreground, check_input_terminal

    if len(call.args) > 1:
        raise CommandError("you cannot start and attach multiple containers at once")
    flags, session = call.flags, call.context.session
    found = session.get(container_path(call.args[0], "json"))
    config = found["Config"]
    stdin = bool(flags["interactive"] and config.get("OpenStdin"))
    check_input_terminal(bool(config["Tty"]), stdin=stdin)
    # Docker attaches to both outputs here, whatever the container was created with.
    body = {"Tty": config["Tty"], "AttachStdin": stdin, "AttachStdout": True, "AttachStderr": True}
    if found["State"].get("Running"):
        from rundlet.cli.commands.container.attach import attach_running

        try:
            return attach_running(call, found, stdin=stdin)
        except DetachedError:
            return 0
    foreground = Foreground(call.context, found["Id"], body, flags)
    try:
        return foreground.run(removed=bool(found["HostConfig"].get("AutoRemove")))
    except ApiError as exc:
        code = start_error_code(exc.message)
        raise CommandError(str(exc), code if code in (126, 127) else 1) from exc
