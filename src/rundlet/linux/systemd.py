"""What systemd is asked for: scopes, which are control groups that its service manager makes and hands over.

The machine's manager answers root, a user's its user. Each has a socket of its own, which needs no bus.

See: org.freedesktop.systemd1(5), systemd.scope(5), systemd's CGROUP_DELEGATION.md.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rundlet.linux.cgroup.files import wait_until
from rundlet.linux.dbus import BusError, Connection, Variant, is_signal

_NAME: Final = "org.freedesktop.systemd1"
_PATH: Final = "/org/freedesktop/systemd1"
_MANAGER: Final = f"{_NAME}.Manager"
_SIGNAL: Final = f"type='signal',interface='{_MANAGER}',member='JobRemoved'"
_PRIVATE: Final = "/systemd/private"
_SECONDS: Final = 30.0
_STOPPING: Final = 10_000_000  # microseconds from SIGTERM to SIGKILL, as for "stop"
_OLD: Final = 10.0  # seconds for a former unit of the same name to go
_EXISTS: Final = f"{_NAME}.UnitExists"
_UNKNOWN: Final = (f"{_NAME}.NoSuchUnit", f"{_NAME}.NotLoaded")

Property = tuple[str, Variant]


def sockets(runtime_directory: str) -> tuple[str, ...]:
    """Where a user's manager answers, whose runtime directory is given, or the machine's; empty where there is none."""
    if runtime_directory:
        found = (f"{runtime_directory}{_PRIVATE}", f"{runtime_directory}/bus")
    elif os.path.isdir("/run/systemd/system"):
        found = ("/run/systemd/private", "/run/dbus/system_bus_socket")
    else:
        return ()
    return tuple(path for path in found if os.path.exists(path))


class Manager:
    """One service manager."""

    def __init__(self, paths: Sequence[str]) -> None:
        """``paths`` are tried one after the other."""
        self.paths = tuple(paths)

    def control_group(self) -> str:
        """The group, from the hierarchy's root, that its slices are in; "" is the root. Raises: OSError, BusError."""
        with self._connect() as bus:
            (found,) = bus.call(_NAME, _PATH, "org.freedesktop.DBus.Properties", "Get", "ss", _MANAGER, "ControlGroup")
        return str(found.value).rstrip("/")

    def start_scope(self, unit: str, pid: int, properties: Sequence[Property]) -> None:
        """Make the scope with the process in it; returns when that is done. Raises: OSError, BusError."""
        given = [("PIDs", Variant("au", [pid])), *properties]
        with self._connect() as bus:
            bus.listen(_SIGNAL)
            try:
                result = _start(bus, unit, given)
            except BusError as exc:
                if exc.name != _EXISTS:
                    raise
                result = _start_after(bus, unit, given)
        if result != "done":
            raise BusError(f"{_NAME}.JobFailed", f'unable to start unit "{unit}": {result}')

    def set_properties(self, unit: str, properties: Sequence[Property]) -> None:
        """Change a unit until it ends. Raises: OSError, BusError."""
        with self._connect() as bus:
            bus.call(_NAME, _PATH, _MANAGER, "SetUnitProperties", "sba(sv)", unit, True, list(properties))

    def _connect(self) -> Connection:
        problem: OSError | BusError = FileNotFoundError(2, os.strerror(2), "/run/systemd/private")
        for path in self.paths:
            try:
                return Connection(path, bus=not path.endswith(_PRIVATE), timeout=_SECONDS)
            except (OSError, BusError) as exc:
                problem = exc
        raise problem


def scope_properties(slice_: str, description: str) -> list[Property]:
    """What every container's scope is: in a slice, delegated, counted, forgotten when it ends."""
    return [
        ("Description", Variant("s", description)),
        ("Slice", Variant("s", slice_)),
        ("Delegate", Variant("b", True)),
        ("DefaultDependencies", Variant("b", False)),  # whoever runs the containers stops them when the machine stops
        ("TimeoutStopUSec", Variant("t", _STOPPING)),  # a slice of its own stops with the machine, and asks nobody
        ("CollectMode", Variant("s", "inactive-or-failed")),
        *((f"{what}Accounting", Variant("b", True)) for what in ("CPU", "Memory", "IO", "Tasks")),
    ]


def slice_path(name: str) -> str:
    """Where a slice's group is, below the manager's: ``a-b.slice`` is in ``a.slice``; ``-.slice`` is the root.

    Raises: ValueError for what is not the name of a slice.
    """
    stem = name.removesuffix(".slice")
    if stem == name or not stem or "/" in name or name.startswith("."):
        raise ValueError(f"invalid slice name: {name}")
    if stem == "-":
        return ""
    parts = stem.split("-")
    if "" in parts:
        raise ValueError(f"invalid slice name: {name}")
    return "".join(f"/{'-'.join(parts[: depth + 1])}.slice" for depth in range(len(parts)))


def start(scope: Mapping[str, Any], pid: int, limits: Sequence[Property]) -> None:
    """Make a container's scope, as a specification names it: ``sockets``, ``slice``, ``unit``.

    Raises: OSError, BusError.
    """
    properties = [*scope_properties(scope["slice"], f"Rundlet container {scope['id']}"), *limits]
    Manager(scope["sockets"]).start_scope(scope["unit"], pid, properties)


def _start_after(bus: Connection, unit: str, properties: Sequence[Property]) -> str:
    """Start a unit whose former life systemd has not noticed the end of yet."""
    found: list[str] = []

    def started() -> bool:
        for method, arguments in (("StopUnit", ("ss", unit, "replace")), ("ResetFailedUnit", ("s", unit))):
            try:
                bus.call(_NAME, _PATH, _MANAGER, method, *arguments)
            except BusError as exc:
                if exc.name not in _UNKNOWN:
                    raise
        try:
            found.append(_start(bus, unit, properties))
        except BusError as exc:
            if exc.name != _EXISTS:
                raise
        return bool(found)

    if not wait_until(started, _OLD):
        raise BusError(_EXISTS, f"Unit {unit} already exists.")
    return found[0]


def _start(bus: Connection, unit: str, properties: Sequence[Property]) -> str:
    """What became of the job: "done" when all is well. Raises: OSError, BusError."""
    serial = bus.send(
        _NAME, _PATH, _MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", list(properties), []
    )
    ended: dict[str, str] = {}
    job = ""

    def settled(message: Any) -> bool:
        nonlocal job
        if is_signal(message, "JobRemoved"):
            ended[str(message.body[1])] = str(message.body[3])  # it may come before the answer
        elif message.reply_to == serial:
            if message.error:
                return True
            job = str(message.body[0])
        return job in ended

    bus.wait(settled)
    return ended[job]
