"""``exec``: one more process in a running container."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import ns, pidfd
from rundlet.runtime.command import configs, creation, filters, imports, properties, resctrl, states, subgroups
from rundlet.runtime.command.errors import CommandError
from rundlet.runtime.command.listener import Agent
from rundlet.runtime.command.states import State
from rundlet.runtime.exec import main as exec_main
from rundlet.runtime.init import devices, report
from rundlet.runtime.init.plan import NewSession
from rundlet.runtime.init.report import Report
from rundlet.runtime.init.steps import Step
from rundlet.runtime.init.users import Users
from rundlet.runtime.shim import failures

_STDIO: Final = 3


class Options(NamedTuple):
    """``console`` as for ``create``. ``ignore_paused``: it starts once the container goes on."""

    root: str
    console: int = -1
    preserved: int = 0
    ignore_paused: bool = False
    cgroups: Sequence[str] = ()
    plain: bool = False


def execute(state: State, process: Mapping[str, Any], options: Options) -> tuple[int, int]:
    """Start it; returns its number and pidfd. Raises: CommandError."""
    configs.check_process(process)
    process = configs.known_capabilities({"process": dict(process)})[0]["process"]
    status = state.status()
    if status == states.PAUSED and not options.ignore_paused:
        raise CommandError("cannot exec in a paused container (use --ignore-paused to override)")
    if status not in (states.RUNNING, states.CREATED, states.PAUSED):
        raise CommandError("cannot exec in a stopped container")
    init = pidfd.open(state.pid)
    if not state.alive():
        raise CommandError("cannot exec in a stopped container")
    user, home = creation.resolve(process, f"/proc/{state.pid}/root")
    size = process.get("consoleSize") or {}
    agent = Agent.of(state.config["linux"].get("seccomp"))
    request = exec_main.Request(
        dict(process),
        state.id,
        None,
        user,
        home,
        filters.program(options.root, state.config["linux"].get("seccomp"), process),
        (size.get("height") or 0, size.get("width") or 0),
        Users.of(state.config),
        guarded=False,
        adapt=_adaptation(state, process, options.plain, agent),
    )
    joined, birth = _cgroups(state, options.cgroups)
    if state.classes:
        joined += resctrl.Classes(**state.classes).join_fds()
    kinds = {entry["type"] for entry in state.config["linux"].get("namespaces") or ()}
    joining = exec_main.Joining(init, joined, ns.CLONE_NEWTIME if "time" in kinds else 0)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    kept = tuple(range(_STDIO, _STDIO + options.preserved)) + (() if agent is None else (agent.reading,))
    wiring = creation.wiring(writing, options.console, kept)
    initial = (process.get("execCPUAffinity") or {}).get("initial")
    if initial:
        os.sched_setaffinity(0, properties.processors(initial))
    imports.end()
    first, first_fd = exec_main.spawn(request, joining, wiring, birth)
    os.close(writing)
    os.close(first_fd)
    try:
        return _started(_read(reading, state, agent), process["args"])
    finally:
        os.close(reading)
        if agent is not None:
            agent.close()
        os.waitpid(first, 0)


def _adaptation(
    state: State, process: Mapping[str, Any], plain: bool, agent: Agent | None
) -> Callable[[list[Step]], list[Step]]:
    """Raises: CommandError."""
    own = properties.of_exec(state.config["linux"], process)

    def adapt(steps: list[Step]) -> list[Step]:
        result: list[Step] = []
        for item in steps:
            result.append(item)
            if isinstance(item, NewSession):
                result += own
            elif isinstance(item, devices.OpenTerminal) and plain:
                result.append(properties.PlainTerminal())
        return result if agent is None else agent.adapt(result)

    return adapt


def _cgroups(state: State, wanted: Sequence[str]) -> tuple[tuple[int, ...], int]:
    group = state.group()
    if wanted:
        return subgroups.join(group, wanted)
    birth = group.clone_fd(state.pid)
    return tuple(group.join_fds(unified=False)), -1 if birth is None else birth


def _read(reading: int, state: State, agent: Agent | None) -> list[Report]:
    """All that is said until the program is executed, which closes the pipe."""
    data = b""
    while read := os.read(reading, 8192):
        data += read
        if agent is not None:
            found = report.parse(data)
            agent.serve(found, _pid(found), state.document(states.RUNNING))
    return report.parse(data)


def _pid(reports: Sequence[Report]) -> int:
    return next((item.errno for item in reports if item.kind == "pid"), 0)


def _started(reports: Sequence[Report], arguments: Sequence[str]) -> tuple[int, int]:
    failed = next((item for item in reports if item.kind == "failed"), None)
    pid = _pid(reports)
    if failed is None and pid and any(item.kind == "ready" for item in reports):
        return pid, pidfd.open(pid)
    if pid:
        os.waitpid(pid, 0)
    text = failures.explain(failed, arguments[0])[2]
    raise CommandError(f"exec failed: unable to start container process: {text}", 255)


def process(state: State, arguments: Any) -> dict[str, Any]:
    """The process that the command line's flags describe: the container's own, changed. Raises: CommandError."""
    if not arguments.words:
        raise CommandError("exec args cannot be empty")
    made = dict(state.config["process"]) | {"args": arguments.words, "terminal": arguments.on("tty")}
    if arguments.given("cwd"):
        made["cwd"] = arguments.text("cwd")
    made["env"] = [*(made.get("env") or ()), *arguments.texts("env")]
    for flag, key in (("apparmor", "apparmorProfile"), ("process-label", "selinuxLabel")):
        if arguments.given(flag):
            made[key] = arguments.text(flag)
    if arguments.on("no-new-privs"):
        made["noNewPrivileges"] = True
    _add_capabilities(made, arguments.texts("cap"))
    if arguments.given("user") or arguments.given("additional-gids"):
        made["user"] = _user(made.get("user") or {}, arguments)
    return made


def _add_capabilities(made: dict[str, Any], names: Sequence[str]) -> None:
    if names:
        sets = {kind: list(found or ()) for kind, found in (made.get("capabilities") or {}).items()}
        for kind in ("bounding", "effective", "permitted"):
            sets[kind] = [*dict.fromkeys([*sets.get(kind, ()), *names])]
        if sets.get("inheritable"):
            sets["ambient"] = [*dict.fromkeys([*sets.get("ambient", ()), *names])]
        made["capabilities"] = sets


def _user(user: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    made = dict(user)
    uid, _, gid = arguments.text("user").partition(":")
    try:
        if uid:
            made["uid"], made["gid"] = int(uid), int(gid or 0)
        if arguments.given("additional-gids"):
            made["additionalGids"] = [int(item) for item in arguments.texts("additional-gids")]
    except ValueError as exc:
        raise CommandError(f"users and groups must be numbers: {exc}") from None
    return made
