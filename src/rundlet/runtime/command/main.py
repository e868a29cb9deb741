"""The command line's main: one function for each verb, errors to the log and to standard error.

What enters a container (``create``, ``run``, ``exec``) runs from a clone of the interpreter (:mod:`entry`), with
nothing of the caller's signal settings.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from rundlet import __version__
from rundlet.runtime.command import entry
from rundlet.runtime.command.arguments import Arguments, Flag, parse
from rundlet.runtime.command.errors import CommandError, RefusedError, UsageError
from rundlet.runtime.command.logs import Log
from rundlet.runtime.command.states import State, States

_GLOBAL: Final = (
    Flag("root"),
    Flag("log"),
    Flag("log-format"),
    Flag("debug", "bool"),
    Flag("systemd-cgroup", "bool"),
    Flag("cgroup-manager"),
    Flag("rootless", "refused"),
    Flag("criu", "refused"),
    Flag("version", "bool", "v"),
    Flag("help", "bool", "h"),
)
_CREATE: Final = (
    Flag("bundle", "value", "b"),
    Flag("config", "value", "f"),
    Flag("console-socket"),
    Flag("pid-file"),
    Flag("pidfd-socket"),
    Flag("no-pivot", "refused"),
    Flag("no-new-keyring", "bool"),
    Flag("preserve-fds"),
)
_EXEC: Final = (
    Flag("console-socket"),
    Flag("pid-file"),
    Flag("pidfd-socket"),
    Flag("process", "value", "p"),
    Flag("detach", "bool", "d"),
    Flag("tty", "bool", "t"),
    Flag("cwd"),
    Flag("env", "list", "e"),
    Flag("user", "value", "u"),
    Flag("additional-gids", "list", "g"),
    Flag("cap", "list", "c"),
    Flag("process-label"),
    Flag("apparmor"),
    Flag("no-new-privs", "bool"),
    Flag("preserve-fds"),
    Flag("ignore-paused", "bool"),
    Flag("cgroup", "list"),
    Flag("no-subreaper", "bool"),
)
_EXEC_FAILED: Final = 255
_FORMAT: Final = Flag("format", "value", "f")
_UPDATE_NAMES: Final = (
    "blkio-weight cpu-period cpu-quota cpu-burst cpu-share cpu-rt-period cpu-rt-runtime cpu-idle cpuset-cpus "
    "cpuset-mems memory memory-swap memory-reservation pids-limit"
).split()


class Invocation(NamedTuple):
    """What the global options say, and the words of the whole command line."""

    root: str
    log: Log
    words: list[str]
    pinned: bool
    systemd: bool = False

    @property
    def states(self) -> States:
        return States(self.root)


def main(words: Sequence[str]) -> NoReturn:
    """Never returns. The first word is ``--pinned`` in a process that was started again."""
    pinned = bool(words) and words[0] == entry.PINNED
    log = Log()
    try:
        rest = list(words[1:] if pinned else words)
        options = parse(_GLOBAL, rest)
        log = Log(options.text("log"), options.text("log-format", "text"), options.on("debug"))
        if log.form not in ("text", "json"):
            raise UsageError(f'invalid log-format "{log.form}"')
        code = _dispatch(Invocation(options.text("root") or _default_root(), log, rest, pinned), options)
    except CommandError as exc:
        code = exc.code
        log.complain(str(exc))
    except OSError as exc:
        code = 1
        log.complain(_explained(exc))
    except KeyboardInterrupt:
        code = 130
    except Exception as exc:  # whoever runs containers by us reads one line
        code = 1
        log.complain(f"internal error: {type(exc).__name__}: {exc}")
    try:
        sys.stdout.flush()
    except OSError:
        code = code or 1
    os._exit(code)


def _dispatch(invocation: Invocation, options: Arguments) -> int:
    if options.on("version"):
        from rundlet.runtime.command import configs

        sys.stdout.write(f"rundlet-runtime version {__version__}\nspec: {configs.NEWEST_SPEC}\n")
        return 0
    if options.on("help") or not options.words or options.words[0] == "help":
        sys.stdout.write(_usage())
        return 0
    manager = options.text("cgroup-manager", "cgroupfs")
    if manager not in ("cgroupfs", "systemd"):
        raise RefusedError(f"--cgroup-manager {manager}")
    invocation = invocation._replace(systemd=options.on("systemd-cgroup") or manager == "systemd")
    verb, *words = options.words
    found = _VERBS.get(verb)
    if found is None:
        if verb in ("checkpoint", "restore"):
            raise RefusedError(verb)
        raise UsageError(f"No help topic for '{verb}'")
    arguments = parse((*found.flags, Flag("help", "bool", "h")), words, mixed=found.mixed)
    if arguments.on("help"):
        names = " ".join(f"[--{flag.name}]" for flag in found.flags if flag.kind != "refused")
        sys.stdout.write(f"rundlet-runtime {verb} {names} {found.usage}\n\n{found.about}\n".replace("  ", " "))
        return 0
    if found.enters and not invocation.pinned:
        entry.pin(invocation.words)
    return found.call(invocation, arguments)


def _prepare(arguments: Arguments) -> None:
    """What a container would otherwise inherit from our caller, or find out through us."""
    from rundlet.linux import clean, libc

    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the lowest free number; a missing stream must not become another file
            os.set_inheritable(number, True)
    for number in range(3, 3 + _preserved(arguments)):
        try:
            os.fstat(number)
        except OSError:
            os.eventfd(0, os.EFD_CLOEXEC)  # else what we open ourselves would get the number, and go to the container
    clean.signals()
    libc.prctl(libc.PR_SET_DUMPABLE, 0)


# ── verbs ────────────────────────────────────────────────────────────────────────────────────────────────────


def _create(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import creation, life, terminal

    _prepare(arguments)
    console = terminal.connect(arguments.text("console-socket")) if arguments.given("console-socket") else -1
    state, warnings = creation.create(arguments.container(), _request(invocation, arguments, console))
    invocation.log.warn(warnings)
    invocation.log.debug(_created(state))
    try:
        _announce(arguments, state.pid)
    except (CommandError, OSError):
        life.delete(invocation.states, state.id, force=True)
        raise
    return 0


def _created(state: State) -> str:
    return f"created {state.id}: process {state.pid}, cgroup {state.cgroup}, root {state.rootfs}"


def _run(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.linux import pidfd
    from rundlet.runtime.command import configs, creation, life, terminal

    _prepare(arguments)
    container, ours, console = arguments.container(), None, -1
    invocation.log.debug(f"run {container}: bundle {_bundle(arguments)}")
    detached = arguments.on("detach")
    if arguments.given("console-socket"):
        console = terminal.connect(arguments.text("console-socket"))
    elif not detached and configs.load(_bundle(arguments), _config(arguments))["process"].get("terminal"):
        ours, console = terminal.pair()
    request = _request(invocation, arguments, console, plain=ours is not None)
    state, warnings = creation.create(container, request)
    invocation.log.warn(warnings)
    process = pidfd.open(state.pid)
    try:
        invocation.log.debug(_created(state))
        _announce(arguments, state.pid)
        life.start(invocation.states, container, follower=0 if detached else os.getpid())
    except BaseException:
        life.delete(invocation.states, container, force=True)
        raise
    if detached:
        return 0
    if console >= 0:
        os.close(console)
    try:
        code = _follow(state.pid, process, terminal.take(ours) if ours is not None else -1)
    finally:
        if not arguments.on("keep"):
            invocation.log.warn(life.delete(invocation.states, container, force=True))
    return code


def _exec(invocation: Invocation, arguments: Arguments) -> int:
    """What fails here has another exit code than what may have been the program's own."""
    try:
        return _executed(invocation, arguments)
    except UsageError:
        raise
    except CommandError as exc:
        raise CommandError(str(exc), _EXEC_FAILED) from exc
    except OSError as exc:
        raise CommandError(_explained(exc), _EXEC_FAILED) from exc


def _executed(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import execs, terminal

    _prepare(arguments)
    if not arguments.words:
        raise UsageError("at least 1 argument is needed: the container's ID")
    container = arguments.words.pop(0)
    state = invocation.states.load(container)
    process = _process_file(arguments) if arguments.given("process") else execs.process(state, arguments)
    if arguments.on("tty"):
        process["terminal"] = True
    ours, console = None, -1
    if arguments.given("console-socket"):
        console = terminal.connect(arguments.text("console-socket"))
    elif process.get("terminal"):
        if arguments.on("detach"):
            raise UsageError("cannot allocate tty when detached without setting console socket")
        ours, console = terminal.pair()
    options = execs.Options(
        invocation.root,
        console,
        _preserved(arguments),
        arguments.on("ignore-paused"),
        arguments.texts("cgroup"),
        plain=ours is not None,
    )
    pid, process_fd = execs.execute(state, process, options)
    invocation.log.debug(f"exec in {state.id}: process {pid}, {' '.join(process['args'])}")
    _announce(arguments, pid)
    if arguments.on("detach"):
        return 0
    if console >= 0:
        os.close(console)
    return _follow(pid, process_fd, terminal.take(ours) if ours is not None else -1)


def _follow(pid: int, process: int, master: int) -> int:
    """Pass on signals, or carry a terminal, until the process has ended; its exit code."""
    from rundlet.linux import pidfd
    from rundlet.runtime.command import terminal

    if master >= 0:
        terminal.carry(master, process)
    else:

        def forward(number: int, _frame: object) -> None:
            try:
                pidfd.send_signal(process, number)
            except ProcessLookupError:
                pass

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, forward)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if code >= 0 else 128 - code


def _start(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import life

    life.start(invocation.states, arguments.container())
    return 0


def _state(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import accounts

    found = accounts.document(_loaded(invocation, arguments))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _kill(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import life

    words, every = arguments.words, arguments.on("all")
    if len(words) not in (1, 2):
        raise UsageError("1 or 2 arguments are needed: the container's ID, and a signal")
    life.kill(invocation.states, words[0], words[1] if len(words) == 2 else "SIGTERM", every=every)
    return 0


def _delete(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import life

    invocation.log.warn(life.delete(invocation.states, arguments.container(), force=arguments.on("force")))
    return 0


def _pause(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import life

    life.pause(invocation.states, arguments.container())
    return 0


def _resume(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import life

    life.resume(invocation.states, arguments.container())
    return 0


def _list(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import accounts

    sys.stdout.write(accounts.list_all(invocation.states, arguments))
    return 0


def _ps(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import accounts

    if not arguments.words:
        raise UsageError("at least 1 argument is needed: the container's ID")
    sys.stdout.write(accounts.processes(invocation.states.load(arguments.words[0]), arguments))
    return 0


def _events(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import accounts

    accounts.watch(_loaded(invocation, arguments), arguments)
    return 0


def _update(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import accounts

    invocation.log.warn(accounts.update(_loaded(invocation, arguments), arguments))
    return 0


def _features(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import accounts

    sys.stdout.write(json.dumps(accounts.features(), indent=2) + "\n")
    return 0


def _spec(invocation: Invocation, arguments: Arguments) -> int:
    from rundlet.runtime.command import specimen

    path = os.path.join(_bundle(arguments), "config.json")
    made = specimen.unprivileged() if arguments.on("rootless") else specimen.document()
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(made, indent=2) + "\n")
    except FileExistsError:
        raise CommandError("File config.json exists. Remove it first") from None
    return 0


# ── what verbs share ─────────────────────────────────────────────────────────────────────────────────────────


def _loaded(invocation: Invocation, arguments: Arguments) -> State:
    return invocation.states.load(arguments.container())


def _bundle(arguments: Arguments) -> str:
    return os.path.realpath(arguments.text("bundle") or ".")


def _preserved(arguments: Arguments) -> int:
    """How many descriptors after standard error go to the container: the caller's, and systemd's sockets."""
    listen = os.environ.get("LISTEN_FDS", "")
    return arguments.number("preserve-fds") + (int(listen) if listen.isdigit() else 0)


def _config(arguments: Arguments) -> str:
    return arguments.text("config") or "config.json"


def _request(invocation: Invocation, arguments: Arguments, console: int, *, plain: bool = False) -> Any:
    from rundlet.runtime.command import creation

    preserved = _preserved(arguments)
    keyring = not arguments.on("no-new-keyring")
    return creation.Request(
        invocation.root,
        _bundle(arguments),
        _config(arguments),
        console,
        preserved,
        keyring,
        plain=plain,
        systemd=invocation.systemd,
    )


def _process_file(arguments: Arguments) -> dict[str, Any]:
    path = arguments.text("process")
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except ValueError as exc:
        raise CommandError(f"{path}: {exc}") from exc
    if not isinstance(found, dict):
        raise CommandError(f"{path}: not an object")
    return found


def _announce(arguments: Arguments, pid: int) -> None:
    """``--pidfd-socket`` and ``--pid-file``. Raises: CommandError, OSError."""
    from rundlet.runtime.command import terminal

    if arguments.given("pidfd-socket"):
        terminal.send_pidfd(arguments.text("pidfd-socket"), pid)
    path = arguments.text("pid-file")
    if path:
        temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}")
        with open(temporary, "w", encoding="ascii") as file:
            file.write(str(pid))
        os.rename(temporary, path)


def _explained(exc: OSError) -> str:
    return f"{exc.filename}: {exc.strerror or exc}" if exc.filename else f"{exc.strerror or exc}"


def _default_root() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/rundlet-runtime" if os.geteuid() != 0 and runtime else "/run/rundlet-runtime"


class _Verb(NamedTuple):
    call: Callable[[Invocation, Arguments], int]
    usage: str
    about: str
    flags: tuple[Flag, ...] = ()
    enters: bool = False
    mixed: bool = True


_VERBS: Final = {
    "create": _Verb(_create, "CONTAINER", "Make a container; its program waits for start", _CREATE, True),
    "start": _Verb(_start, "CONTAINER", "Execute the program of a created container"),
    "run": _Verb(
        _run,
        "CONTAINER",
        "Create and start a container, and wait for its end",
        (*_CREATE, Flag("detach", "bool", "d"), Flag("keep", "bool"), Flag("no-subreaper", "bool")),
        True,
    ),
    "exec": _Verb(_exec, "CONTAINER COMMAND [ARG...]", "Run one more process in a container", _EXEC, True, False),
    "state": _Verb(_state, "CONTAINER", "Print the state of a container as JSON"),
    "kill": _Verb(_kill, "CONTAINER [SIGNAL]", "Send a signal (default SIGTERM)", (Flag("all", "bool", "a"),)),
    "delete": _Verb(_delete, "CONTAINER", "Remove a stopped container", (Flag("force", "bool", "f"),)),
    "pause": _Verb(_pause, "CONTAINER", "Stop all processes of a container"),
    "resume": _Verb(_resume, "CONTAINER", "Let the processes of a container go on"),
    "list": _Verb(_list, "", "List containers", (_FORMAT, Flag("quiet", "bool", "q"))),
    "ps": _Verb(_ps, "CONTAINER [PS OPTIONS]", "List the processes of a container", (_FORMAT,), mixed=False),
    "events": _Verb(_events, "CONTAINER", "Print statistics of a container", (Flag("stats", "bool"), Flag("interval"))),
    "update": _Verb(
        _update,
        "CONTAINER",
        "Change the limits of a container",
        (Flag("resources", "value", "r"), *(Flag(name) for name in _UPDATE_NAMES)),
    ),
    "features": _Verb(_features, "", "Print what this runtime can do as JSON"),
    "spec": _Verb(_spec, "", "Write an example config.json", (Flag("bundle", "value", "b"), Flag("rootless", "bool"))),
}


def _usage() -> str:
    lines = [f"  {name:<10}{verb.about}" for name, verb in _VERBS.items()]
    head = "rundlet-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND [OPTIONS] [CONTAINER]\n\n"
    return head + "\n".join(lines) + "\n"
