"""Instructions that change the configuration and no file: what each does, and what the history says of it."""

import posixpath
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.state import StageState, words_json
from rundlet.oci.config import Healthcheck

NOP: Final = "/bin/sh -c #(nop)"
"""What the classic builder's history says before a step that runs nothing."""
BUILDKIT_MARK: Final = " # buildkit"
"""What BuildKit's says after one that has files."""
_UNITS: Final = ((3600 * 10**9, "h"), (60 * 10**9, "m"))


class Change(msgspec.Struct, frozen=True):
    """The state after an instruction, and what the history says of it ("": nothing)."""

    state: StageState
    said: str


def apply(state: StageState, instruction: ast.Instruction, *, buildkit: bool = False) -> Change | None:
    """``instruction`` (expanded) on ``state``; None for one that is more than metadata. ``buildkit``: CMD is marked as
    BuildKit marks it, and the history is worded as there."""
    action = _ACTIONS.get(type(instruction))
    if action is None:
        return None
    change = action(state, instruction)
    if not buildkit:
        return msgspec.structs.replace(change, said=f"{NOP} {change.said}")
    if isinstance(instruction, ast.Cmd):
        change = msgspec.structs.replace(change, state=_set(change.state, args_escaped=True))
    return msgspec.structs.replace(change, said=_said_by_buildkit(instruction, change.said))


def _said_by_buildkit(instruction: ast.Instruction, said: str) -> str:
    if isinstance(instruction, ast.Onbuild) or (isinstance(instruction, ast.Label) and instruction.outside):
        return ""
    if isinstance(instruction, ast.Expose):
        return f"EXPOSE [{' '.join(sorted(instruction.ports))}]"
    if isinstance(instruction, ast.Healthcheck):
        return _health(instruction, start_interval=True).lstrip()
    return said.lstrip()


def said_of_transfer(instruction: ast.Transfer) -> str:
    """What BuildKit's history says of COPY and ADD (expanded)."""
    words = [instruction.keyword]
    if isinstance(instruction, ast.Copy) and instruction.parents:
        words.append("--parents")
    words += [f"--chown={instruction.chown}"] if instruction.chown else []
    words += [f"--chmod={instruction.chmod}"] if instruction.chmod else []
    words += [*instruction.sources, *(f"<<{file.name}" for file in instruction.files), instruction.destination]
    return f"{' '.join(words)}{BUILDKIT_MARK}"


def _set(state: StageState, **fields: Any) -> StageState:
    return state.changed(msgspec.structs.replace(state.container, **fields))


def set_variables(existing: Sequence[str] | None, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The environment with ``pairs`` in it; a name keeps its place."""
    values = list(existing or ())
    for name, value in pairs:
        place = next((i for i, item in enumerate(values) if item.partition("=")[0] == name), None)
        if place is None:
            values.append(f"{name}={value}")
        else:
            values[place] = f"{name}={value}"
    return values


def _env(state: StageState, instruction: ast.Env) -> Change:
    pairs = [(pair.key, pair.value) for pair in instruction.pairs]
    shown = " ".join(f"{name}={value}" for name, value in pairs)
    return Change(_set(state, env=set_variables(state.container.env, pairs)), f" ENV {shown}")


def _label(state: StageState, instruction: ast.Label) -> Change:
    labels = {pair.key: pair.value for pair in instruction.pairs}
    shown = " ".join(f"{name}={value}" for name, value in labels.items())
    return Change(_set(state, labels={**(state.container.labels or {}), **labels}), f" LABEL {shown}")


def _maintainer(state: StageState, instruction: ast.Maintainer) -> Change:
    config = msgspec.structs.replace(state.config, author=instruction.name)
    return Change(msgspec.structs.replace(state, config=config), f" MAINTAINER {instruction.name}")


def _command(state: StageState, instruction: ast.Command) -> list[str]:
    return [*state.shell, *instruction.words] if instruction.shell else list(instruction.words)


def _cmd(state: StageState, instruction: ast.Cmd) -> Change:
    words = _command(state, instruction)
    changed = msgspec.structs.replace(_set(state, cmd=words, args_escaped=False), command_set=True)
    return Change(changed, f" CMD {words_json(words)}")


def _entrypoint(state: StageState, instruction: ast.Entrypoint) -> Change:
    words = _command(state, instruction)
    fields: dict[str, Any] = {"entrypoint": words or None}
    if not state.command_set:
        # The base image's command was meant for the base image's entry point.
        fields["cmd"] = None
    return Change(_set(state, **fields), f" ENTRYPOINT {words_json(words)}")


def _healthcheck(state: StageState, instruction: ast.Healthcheck) -> Change:
    check = Healthcheck(
        test=list(instruction.test),
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
    return Change(_set(state, healthcheck=check), _health(instruction, start_interval=False))


def _health(check: ast.Healthcheck, *, start_interval: bool) -> str:
    times = [check.interval, check.timeout, check.start_period, *([check.start_interval] if start_interval else [])]
    shown = " ".join(f'"{go_duration(time)}"' for time in times)
    return f" HEALTHCHECK &{{{words_json(check.test)} {shown} '\\x{check.retries:02x}'}}"


def go_duration(time_ns: int) -> str:
    """``1m30s``, as Go prints durations."""
    if not time_ns:
        return "0s"
    if time_ns < 10**9:
        for unit, name in ((10**6, "ms"), (10**3, "µs")):
            if time_ns >= unit:
                return f"{time_ns / unit:g}{name}"
        return f"{time_ns}ns"
    text = ""
    for unit, name in _UNITS:
        if time_ns >= unit or text:
            text += f"{time_ns // unit}{name}"
            time_ns %= unit
    return f"{text}{time_ns / 10**9:g}s"


def _expose(state: StageState, instruction: ast.Expose) -> Change:
    ports = {**(state.container.exposed_ports or {}), **{port: {} for port in instruction.ports}}
    shown = " ".join(port.removesuffix("/tcp") for port in instruction.ports)
    return Change(_set(state, exposed_ports=ports), f" EXPOSE {shown}")


def _user(state: StageState, instruction: ast.User) -> Change:
    return Change(_set(state, user=instruction.user), f" USER {instruction.user}")


def _volume(state: StageState, instruction: ast.Volume) -> Change:
    volumes = {**(state.container.volumes or {}), **{path: {} for path in instruction.paths}}
    return Change(_set(state, volumes=volumes), f" VOLUME [{' '.join(instruction.paths)}]")


def _stopsignal(state: StageState, instruction: ast.Stopsignal) -> Change:
    return Change(_set(state, stop_signal=instruction.signal), f" STOPSIGNAL {instruction.signal}")


def _shell(state: StageState, instruction: ast.Shell) -> Change:
    return Change(_set(state, shell=list(instruction.words)), f" SHELL [{' '.join(instruction.words)}]")


def _onbuild(state: StageState, instruction: ast.Onbuild) -> Change:
    triggers = [*(state.container.on_build or ()), instruction.trigger]
    return Change(_set(state, on_build=triggers), f" ONBUILD {instruction.trigger}")


def working_directory(state: StageState, path: str) -> str:
    """The absolute directory that WORKDIR ``path`` means."""
    return posixpath.normpath("/" + posixpath.join(state.directory, path).lstrip("/"))


def with_directory(state: StageState, directory: str) -> StageState:
    return _set(state, working_dir=directory)


_ACTIONS: Final[dict[type[ast.Instruction], Callable[[StageState, Any], Change]]] = {
    ast.Env: _env,
    ast.Label: _label,
    ast.Maintainer: _maintainer,
    ast.Cmd: _cmd,
    ast.Entrypoint: _entrypoint,
    ast.Healthcheck: _healthcheck,
    ast.Expose: _expose,
    ast.User: _user,
    ast.Volume: _volume,
    ast.Stopsignal: _stopsignal,
    ast.Shell: _shell,
    ast.Onbuild: _onbuild,
}
