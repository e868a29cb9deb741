"""What init does for an OCI runtime besides the shared plan: hooks in between, and the wait for ``start``.

These run in the container's first process; modules are all imported by then.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import copyup, mount, path
from rundlet.runtime.command import properties
from rundlet.runtime.init import devices, hooks, mounts
from rundlet.runtime.init.hooks import CreationHooks, Synchronizer
from rundlet.runtime.init.plan import NewSession
from rundlet.runtime.init.steps import Context, Step

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_DEV: Final = "/dev"
_COPY_UP: Final = "tmpcopyup"


def _end(number: int, _frame: object) -> None:
    os._exit(128 + number)


class StartGate(NamedTuple):
    """Tell the runtime that the container is created, then wait until somebody opens the FIFO for reading.

    Whoever does reads init's report there: nothing but the end of it when the program was executed.
    """

    fifo: int
    line: Synchronizer
    hooks: Sequence[Mapping[str, Any]]
    variables: Mapping[bytes, bytes] = {}
    step: str = "hook"

    def hold(self, context: Context) -> None:
        # By then proc() is the container's own procfs: no path of the image takes part.
        proc = context.proc()
        for fd in {context.null, context.dev, context.pts, context.root} - {-1}:
            os.close(fd)  # whoever finds them in /proc while this process waits could use them
        for number in _ENDING:
            signal.signal(number, _end)  # process 1 of a namespace hears only what it has a handler for
        context.reporter.ready()
        released = os.open(f"self/fd/{self.fifo}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        context.reporter.move(released)
        os.close(self.fifo)
        if self.hooks:
            variables = {os.fsdecode(name): os.fsdecode(value) for name, value in self.variables.items()}
            hooks.run("startContainer", self.hooks, self.line.state | {"status": "created"}, variables)


class FilledTmpfs(NamedTuple):
    """A tmpfs that begins with what the image has in its place (podman's ``tmpcopyup``)."""

    inner: mounts.MountFilesystem
    step: str = "mount"

    def describe(self) -> str:
        return f"{self.inner.describe()}, with what the image has there"

    def execute(self, context: Context) -> None:
        # Looked up beforehand, as the mount covers it.
        source = path.makedirs_in_root(context.root, self.inner.destination)
        try:
            self.inner.execute(context)
            target = path.makedirs_in_root(context.root, self.inner.destination)
            try:
                copyup.fill(source, ".", target)
            finally:
                os.close(target)
        finally:
            os.close(source)


class ReadonlyDev(NamedTuple):
    """A read-only /dev, once all is in it."""

    step: str = "device"

    def describe(self) -> str:
        return "read-only /dev"

    def execute(self, context: Context) -> None:
        mount.mount_setattr(context.dev, "", set=mount.MOUNT_ATTR_RDONLY)


class WorkingDirectory(NamedTuple):
    """Made while the root can still be written to."""

    path: str
    step: str = "cwd"

    def describe(self) -> str:
        return f"make {self.path}"

    def execute(self, context: Context) -> None:
        os.close(path.makedirs_in_root(context.root, self.path))


class OldSession(NamedTuple):
    """``--no-new-keyring``: a session, and the keyring that we were started with."""

    step: str = "session"

    def describe(self) -> str:
        return "new session"

    def execute(self, context: Context) -> None:
        os.setsid()


def adapt(
    steps: Sequence[Step],
    config: Mapping[str, Any],
    line: Synchronizer | None,
    *,
    keyring: bool = True,
    plain: bool = False,
) -> list[Step]:
    """The plan with this room's own steps in their places. ``plain``: for :class:`properties.PlainTerminal`.

    Raises: CommandError.
    """
    result: list[Step] = []
    readonly = False
    for item in steps:
        if isinstance(item, mounts.Pivot) and readonly:
            result.append(ReadonlyDev())
        if isinstance(item, mounts.ReadonlyRoot):
            result.append(WorkingDirectory(config["process"]["cwd"]))
        if isinstance(item, mounts.Pivot) and line is not None:
            wanted = (config.get("hooks") or {}).get("createContainer") or ()
            result.append(CreationHooks(line, wanted))
        if isinstance(item, NewSession) and not keyring:
            result.append(OldSession())
        elif isinstance(item, mounts.MountFilesystem) and (_COPY_UP, None) in item.options.data:
            data = tuple(entry for entry in item.options.data if entry[0] != _COPY_UP)
            result.append(FilledTmpfs(item._replace(options=item.options._replace(data=data))))
        elif isinstance(item, mounts.MountFilesystem) and item.destination == _DEV:
            readonly = bool(item.options.set & mount.MOUNT_ATTR_RDONLY)
            options = item.options._replace(set=item.options.set & ~mount.MOUNT_ATTR_RDONLY)
            result.append(item._replace(options=options))
        else:
            result.append(item)
        if isinstance(item, NewSession):
            result.append(properties.EVERY_PROCESSOR)  # not those that our caller happens to have
            result += properties.of_container(config["linux"])
            result += properties.of_process(config["process"])
        if isinstance(item, devices.OpenTerminal) and plain:
            result.append(properties.PlainTerminal())
    return result
