"""The driver of control groups: systemd's where that runs with cgroup v2, as Docker's default is, or our own files."""

import logging
import os
from collections.abc import Sequence

from rundlet.daemon.errors import ConfigError
from rundlet.engine.context import ServiceManager
from rundlet.linux import cgroup, systemd

OPTION = "native.cgroupdriver"
_SYSTEMD, _FILES = "systemd", "cgroupfs"
_ABSENT = "systemd does not run for this engine's user"

_log = logging.getLogger(__name__)


def check(options: Sequence[str]) -> str:
    """The driver that ``exec-opts`` ask for, or "". Raises ConfigError."""
    chosen = ""
    for option in options:
        name, _, value = str(option).partition("=")
        if name != OPTION:
            raise ConfigError(f"exec-opts: {option}: there is {OPTION}={_FILES} or {_SYSTEMD}")
        if value not in (_FILES, _SYSTEMD):
            raise ConfigError(f'exec-opts: {OPTION} "{value}" is not supported: it is {_FILES} or {_SYSTEMD}')
        if chosen not in ("", value):
            raise ConfigError(f"exec-opts: {OPTION} is both {chosen} and {value}")
        chosen = value
    return chosen


def service_manager(options: Sequence[str], user: int, delegated: str) -> ServiceManager | None:
    """Who makes containers' groups; None: the engine itself.

    ``user`` is whose engine it is, -1 for root's; ``delegated`` the group that an ordinary user was given. Raises
    ConfigError when systemd is asked for and can't be had.
    """
    wanted = check(options)
    if wanted == _FILES:
        return None
    found, problem = _find(user, delegated)
    if found is None and wanted == _SYSTEMD:
        raise ConfigError(f"exec-opts: {OPTION}={_SYSTEMD}: {problem}")
    if found is None and problem != _ABSENT:
        _log.warning("control groups are made by the engine itself, not by systemd: %s", problem)
    return found


def _find(user: int, delegated: str) -> tuple[ServiceManager | None, str]:
    """The manager, or why there is none."""
    ordinary = user >= 0
    paths = systemd.sockets((os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{user}") if ordinary else "")
    if not paths:
        return None, _ABSENT
    if ordinary and not delegated:
        return None, "this user's service manager gives no control group away"
    if cgroup.detect().version != cgroup.V2:
        return None, "that needs cgroup v2"
    try:
        base = systemd.Manager(paths).control_group()
    except (OSError, ValueError) as exc:
        return None, f"systemd does not answer: {exc}"
    return ServiceManager(paths, base if ordinary else "", "user.slice" if ordinary else "system.slice"), ""
