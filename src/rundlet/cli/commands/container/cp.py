"""``rundlet cp``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\ncp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
SHORT = "Copy files/folders between a container and the local filesystem"
LONG = (
    "Copy files/folders between a container and the local filesystem\n\n"
    "Use '-' as the source to read a tar archive from stdin\n"
    "and extract it to a directory destination in a container.\n"
    "Use '-' as the destination to stream a tar archive of a\n"
    "container source to stdout."
)
ARGS = (2, 2)
FLAGS = (
    ("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
    ("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
    (
        "quiet",
        "q",
        "bool",
        "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
    ),
)


def split_argument(text: str) -> tuple[str, str]:
    """(container, path); a local path has no container. ``./a:b`` and ``/a:b`` are local."""
    if text.startswith("/"):
        return "", text
    container, colon, path = text.partition(":")
    if not colon or container.startswith("."):
        return "", text
    return container, path


def run(call: Invocation) -> int:
    from rundlet.cli.copying import copy_from, copy_to

    (source, source_path), (target, target_path) = map(split_argument, call.args)
    if not call.args[0]:
        raise CommandError("source can not be empty")
    if not call.args[1]:
        raise CommandError("destination can not be empty")
    if source and target:
        raise CommandError("copying between containers is not supported")
    if source:
        copy_from(call, source, source_path, target_path)
    elif target:
        copy_to(call, source_path, target, target_path)
    else:
        raise CommandError("must specify at least one container source")
    return 0
