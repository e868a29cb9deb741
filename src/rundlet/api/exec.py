"""Exec: a further process in a running container."""

from rundlet.api.base import LowerWire, Options, StrSlice, Wire, always


class ExecCreate(Wire, frozen=True):
    """Body of ``POST /containers/{id}/exec``."""

    user: str = always("")
    privileged: bool = always(False)
    tty: bool = always(False)
    console_size: tuple[int, int] | None = None
    attach_stdin: bool = always(False)
    attach_stderr: bool = always(False)
    attach_stdout: bool = always(False)
    detach: bool = always(False)
    detach_keys: str = always("")
    env: tuple[str, ...] | None = always(None)
    working_dir: str = always("")
    cmd: StrSlice = always(None)


class ExecCreated(Wire, frozen=True):
    id: str = always("")


class ExecStart(Wire, frozen=True):
    """Body of ``POST /exec/{id}/start``; ``console_size`` is height, width."""

    detach: bool = always(False)
    tty: bool = always(False)
    console_size: tuple[int, int] | None = None


class ProcessConfig(LowerWire, frozen=True):
    tty: bool = always(False)
    entrypoint: str = always("")
    arguments: tuple[str, ...] = always(())
    privileged: bool | None = None
    user: str = ""


class ExecInspect(Wire, frozen=True):
    """Answer of ``GET /exec/{id}/json``; ``exit_code`` None while it runs."""

    id: str = always("", name="ID")
    running: bool = always(False)
    exit_code: int | None = always(None)
    process_config: ProcessConfig = always(ProcessConfig())
    open_stdin: bool = always(False)
    open_stderr: bool = always(False)
    open_stdout: bool = always(False)
    can_remove: bool = always(False)
    container_id: str = always("", name="ContainerID")
    detach_keys: str = always("")
    pid: int = always(0)


class Size(Options, frozen=True):
    """A terminal's size in characters."""

    height: int
    width: int
