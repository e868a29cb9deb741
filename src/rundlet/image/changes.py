"""``--change`` of import and commit: single Dockerfile instructions applied to a container config.

The instructions that Docker takes there, with its rules for JSON and shell forms, quoting and variables.
"""

import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from rundlet.image.errors import BadChangeError
from rundlet.image.words import duration_ns, expand, split_raw
from rundlet.oci.config import ContainerConfig, Healthcheck

VALID: Final = frozenset("cmd entrypoint healthcheck env expose label onbuild stopsignal user volume workdir".split())
_KEY_VALUE: Final = re.compile(r"^[^\s=\"']+=")
_PORT: Final = re.compile(r"(\d+)(?:-(\d+))?(?:/([A-Za-z]+))?\Z")
_DEFAULT_SHELL: Final = ["/bin/sh", "-c"]
MINIMUM_NS: Final = 1_000_000


def apply_changes(config: ContainerConfig, changes: Sequence[str]) -> ContainerConfig:
    """``config`` after every instruction of ``changes``. Raises BadChangeError with Docker's words."""
    state = _State(config)
    for line in _lines("\n".join(changes)):
        word, _, rest = line.partition(" ") if " " in line else line.partition("\t")
        name = word.lower()
        if name not in VALID:
            raise BadChangeError(f"{word} is not a valid change command")
        rest = rest.strip()
        if not rest:
            raise BadChangeError(f"{name.upper()} requires at least one argument")
        _INSTRUCTIONS[name](state, rest)
    return msgspec.structs.replace(state.config, **state.changed)


class _State:
    """The config while it changes: later instructions see what earlier ones set."""

    def __init__(self, config: ContainerConfig) -> None:
        self.config = config
        self.changed: dict[str, Any] = {}
        self.cmd_set = False

    def get(self, field: str) -> Any:
        return self.changed[field] if field in self.changed else getattr(self.config, field)

    def environment(self) -> dict[str, str]:
        pairs = (item.partition("=") for item in self.get("env") or ())
        return {name: value for name, _, value in pairs}

    def expand(self, text: str) -> str:
        return expand(text, self.environment())

    def shell(self, text: str) -> list[str]:
        """JSON form as it is, shell form behind the shell."""
        words = _json_words(text)
        return words if words is not None else [*(self.get("shell") or _DEFAULT_SHELL), text]


def _lines(text: str) -> list[str]:
    joined: list[str] = []
    current = ""
    for line in text.split("\n"):
        stripped = line.strip() if not current else line.rstrip()
        if not current and (not stripped or stripped.startswith("#")):
            continue
        if stripped.endswith("\\"):
            current += stripped[:-1]
            continue
        joined.append((current + stripped).strip())
        current = ""
    if current.strip():
        joined.append(current.strip())
    return joined


def _json_words(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
        return None


def _pairs(state: _State, text: str, instruction: str) -> list[tuple[str, str]]:
    """``A=1 B="2 3"``, or the old form ``A all the rest``."""
    if not _KEY_VALUE.match(text):
        name, _, value = text.partition(" ")
        if not value.strip():
            raise BadChangeError(f"{instruction} must have two arguments")
        return [(state.expand(name), state.expand(value.strip()))]
    pairs: list[tuple[str, str]] = []
    environment = state.environment()
    for word in split_raw(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise BadChangeError(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        name = expand(name, environment)
        if not name:
            raise BadChangeError(f"{instruction} names can not be blank")
        pairs.append((name, expand(value, environment)))
    return pairs


def _cmd(state: _State, text: str) -> None:
    state.changed["cmd"] = state.shell(text)
    state.changed["args_escaped"] = False
    state.cmd_set = True


def _entrypoint(state: _State, text: str) -> None:
    state.changed["entrypoint"] = state.shell(text) or None
    if not state.cmd_set:
        state.changed["cmd"] = None


def _env(state: _State, text: str) -> None:
    values = list(state.get("env") or ())
    for name, value in _pairs(state, text, "ENV"):
        position = next((i for i, item in enumerate(values) if item.partition("=")[0] == name), None)
        if position is None:
            values.append(f"{name}={value}")
        else:
            values[position] = f"{name}={value}"
    state.changed["env"] = values


def _label(state: _State, text: str) -> None:
    state.changed["labels"] = {**(state.get("labels") or {}), **dict(_pairs(state, text, "LABEL"))}


def _expose(state: _State, text: str) -> None:
    ports = dict(state.get("exposed_ports") or {})
    for word in state.expand(text).split():
        match = _PORT.match(word)
        if match is None:
            raise BadChangeError(f"invalid containerPort: {word}")
        first = int(match[1])
        last = int(match[2] or match[1])
        protocol = (match[3] or "tcp").lower()
        if protocol not in ("tcp", "udp", "sctp"):
            raise BadChangeError(f"invalid proto: {protocol}")
        if not 0 <= first <= last <= 65535:
            raise BadChangeError(f"invalid range specified for port: {word}")
        ports.update({f"{port}/{protocol}": {} for port in range(first, last + 1)})
    state.changed["exposed_ports"] = ports


def _volume(state: _State, text: str) -> None:
    words = _json_words(text)
    names = words if words is not None else text.split()
    volumes = dict(state.get("volumes") or {})
    for name in names:
        path = state.expand(name).strip()
        if not path:
            raise BadChangeError("VOLUME specified can not be an empty string")
        volumes[path] = {}
    state.changed["volumes"] = volumes


def _workdir(state: _State, text: str) -> None:
    before = state.get("working_dir") or "/"
    state.changed["working_dir"] = posixpath.normpath(posixpath.join("/", before, state.expand(text)))


def _user(state: _State, text: str) -> None:
    state.changed["user"] = state.expand(text)


def _stopsignal(state: _State, text: str) -> None:
    state.changed["stop_signal"] = state.expand(text)


def _onbuild(state: _State, text: str) -> None:
    trigger = text.split(maxsplit=1)[0].upper()
    if trigger == "ONBUILD":
        raise BadChangeError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if trigger in ("MAINTAINER", "FROM"):
        raise BadChangeError(f"{trigger} isn't allowed as an ONBUILD trigger")
    state.changed["on_build"] = [*(state.get("on_build") or ()), text]


_CHECK_FLAGS: Final = {
    "interval": "interval",
    "timeout": "timeout",
    "start-period": "start_period",
    "start-interval": "start_interval",
}


def _healthcheck(state: _State, text: str) -> None:
    fields: dict[str, Any] = {}
    while text.startswith("--"):
        word, _, text = text.partition(" ")
        text = text.lstrip()
        name, _, value = word[2:].partition("=")
        if name == "retries":
            if not value.isdigit():
                raise BadChangeError(f'strconv.ParseInt: parsing "{value}": invalid syntax')
            fields["retries"] = int(value)
        elif name in _CHECK_FLAGS:
            fields[_CHECK_FLAGS[name]] = _interval(name, value)
        else:
            raise BadChangeError(f"unknown flag: --{name}")
    kind, _, rest = text.partition(" ")
    rest = rest.strip()
    if kind.upper() == "NONE":
        if rest or fields:
            raise BadChangeError("HEALTHCHECK NONE takes no arguments")
        fields["test"] = ["NONE"]
    elif kind.upper() == "CMD":
        if not rest:
            raise BadChangeError("Missing command after HEALTHCHECK CMD")
        words = _json_words(rest)
        fields["test"] = ["CMD", *words] if words is not None else ["CMD-SHELL", rest]
    else:
        raise BadChangeError(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    state.changed["healthcheck"] = Healthcheck(**fields)


def _interval(name: str, value: str) -> int:
    nanoseconds = duration_ns(value)
    if nanoseconds is None:
        raise BadChangeError(f'time: invalid duration "{value}"')
    if nanoseconds and nanoseconds < MINIMUM_NS:
        raise BadChangeError(f'Interval "{name}" cannot be less than 1ms')
    return nanoseconds


_INSTRUCTIONS: Final[dict[str, Callable[[_State, str], None]]] = {
    "cmd": _cmd,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "healthcheck": _healthcheck,
    "label": _label,
    "onbuild": _onbuild,
    "stopsignal": _stopsignal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
