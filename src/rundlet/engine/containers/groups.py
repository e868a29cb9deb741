"""Which control group is a container's: one below the engine's own, or a scope that systemd makes.

With systemd's driver a container whose ``--cgroup-parent`` is a slice, or that has none, gets a scope. The driver may
change between two engines while containers run, so what is there counts before what would be made.
"""

import posixpath
from typing import Any, Final

from rundlet.container.record import Record
from rundlet.engine.containers import documents, leftovers
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError
from rundlet.linux import cgroup, systemd
from rundlet.linux.cgroup import Cgroup
from rundlet.linux.cgroup.units import properties

_SLICE: Final = ".slice"
_PREFIX: Final = "rundlet"


def section(record: Record, context: Context) -> dict[str, Any]:
    """Where the group will be, for the shim: ``path`` and, where systemd makes it, ``scope``."""
    path = _scope_path(record, context)
    if path is None:
        return {"path": _own_path(record, context)}
    manager = context.settings.scopes
    assert manager is not None
    scope = {
        "id": record.id,
        "sockets": list(manager.sockets),
        "slice": _parent(record) or manager.slice,
        "unit": _unit(record),
        "base": manager.base,
    }
    return {"path": path, "scope": scope}


def oci_path(record: Record, context: Context) -> str:
    """``linux.cgroupsPath``, as other runtimes take it: a path, or what their option for systemd wants."""
    manager = context.settings.scopes
    if manager is None or _scope_path(record, context) is None:
        return _own_path(record, context)
    return f"{_parent(record) or manager.slice}:{_PREFIX}:{record.id}"


def group(record: Record, context: Context) -> Cgroup:
    """The group that it has, or would have."""
    found = [Cgroup(_own_path(record, context), cgroup.detect())]
    path, manager = _scope_path(record, context), context.settings.scopes
    if path is not None and manager is not None:
        found.insert(0, Cgroup(path, cgroup.managed(manager.base)))
    return next((one for one in found if one.exists()), None) or _scope_around(record) or found[0]


def clear(record: Record, context: Context) -> None:
    """End what a killed shim left in the group, and remove it."""
    found = group(record, context)
    if found.exists():
        leftovers.clear(found, managed=found.path == _scope_path(record, context))


def tell_systemd(record: Record, context: Context, resources: dict[str, Any]) -> None:
    """New limits for its scope, so that they stay when systemd looks at it again. Raises InvalidParameterError."""
    manager, path = context.settings.scopes, _scope_path(record, context)
    if manager is None or path is None or not Cgroup(path, cgroup.managed(manager.base)).exists():
        return
    try:
        systemd.Manager(manager.sockets).set_properties(_unit(record), properties(resources))
    except (OSError, ValueError) as exc:
        raise InvalidParameterError(f"systemd does not take the limits of {_unit(record)}: {exc}") from exc


def checked_parent(parent: str, context: Context) -> str:
    """As the container keeps it: a path as it was given, or with systemd's driver the name of a slice.

    Raises InvalidParameterError, with Docker's words, for what systemd's driver can't put a container in.
    """
    if parent and context.settings.scopes is not None:
        try:
            systemd.slice_path(parent)
        except ValueError:
            raise InvalidParameterError(
                'cgroup-parent for systemd cgroup should be a valid slice named as "xxx.slice"'
            ) from None
    return parent


def _scope_around(record: Record) -> Cgroup | None:
    """The scope that it runs in since an engine with systemd's driver started it, wherever that is."""
    try:
        with open(f"/proc/{record.state.pid}/cgroup", encoding="utf-8") as file:
            path = next((line[3:].rstrip() for line in file if line.startswith("0::")), "")
    except OSError:
        return None
    slice_, unit, _ = path.partition(f"/{_unit(record)}")
    return Cgroup(unit, cgroup.managed(slice_)) if unit and slice_ else None


def _scope_path(record: Record, context: Context) -> str | None:
    """Below the manager's group; None where there is no scope for it."""
    manager, parent = context.settings.scopes, _parent(record)
    if manager is None or not (parent.endswith(_SLICE) or not parent) or "/" in parent:
        return None
    return f"{systemd.slice_path(parent or manager.slice)}/{_unit(record)}"


def _own_path(record: Record, context: Context) -> str:
    """Below the hierarchy's root, however many ``..`` a wished parent has."""
    parent = posixpath.normpath(f"/{_parent(record)}").strip("/")
    return f"/{parent or f'rundlet-{context.layout.instance}'}/{record.id}"


def _parent(record: Record) -> str:
    return documents.host(record).cgroup_parent


def _unit(record: Record) -> str:
    return f"{_PREFIX}-{record.id}.scope"
