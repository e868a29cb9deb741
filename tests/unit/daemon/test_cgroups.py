"""Which driver of control groups an engine has: what it was told, and what the machine offers."""

import errno
from collections.abc import Callable

import pytest

from rundlet.daemon import cgroups
from rundlet.daemon.errors import ConfigError
from rundlet.engine.context import ServiceManager
from rundlet.linux import cgroup, systemd
from rundlet.linux.cgroup import V2, Layout

ASKED = ("native.cgroupdriver=systemd",)
USERS = "/user.slice/user-1000.slice/user@1000.service"
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """``sockets`` at which systemd answers with its ``group``, or not (None); ``version`` of the control groups."""

    def become(sockets: tuple[str, ...] = ("/s",), group: str | None = "", version: str = V2) -> None:
        def answer(_manager: systemd.Manager) -> str:
            if group is None:
                raise OSError(errno.ETIMEDOUT, "D-Bus: no answer")
            return group

        monkeypatch.setattr(systemd, "sockets", lambda _directory: sockets)
        monkeypatch.setattr(systemd.Manager, "control_group", answer)
        monkeypatch.setattr(cgroup, "detect", lambda: Layout(version, (), "/sys/fs/cgroup", ()))

    return become


@pytest.mark.parametrize("options", [(), ASKED])
def test_systemds_where_it_runs(machine: Machine, options: tuple[str, ...]) -> None:
    machine()
    assert cgroups.service_manager(options, -1, "") == ServiceManager(("/s",), "", "system.slice")


def test_a_users_own(machine: Machine) -> None:
    machine(group=USERS)
    assert cgroups.service_manager((), 1000, f"{USERS}/x.scope") == ServiceManager(("/s",), USERS, "user.slice")


def test_files_where_they_are_asked_for(machine: Machine) -> None:
    machine()
    assert cgroups.service_manager(("native.cgroupdriver=cgroupfs",), -1, "") is None


@pytest.mark.parametrize(
    ("offers", "user", "problem"),
    [
        ({"sockets": ()}, -1, "systemd does not run for this engine's user"),
        ({"version": "v1"}, -1, "that needs cgroup v2"),
        ({"group": None}, -1, "systemd does not answer: .*no answer"),
        ({}, 1000, "this user's service manager gives no control group away"),
    ],
    ids=["absent", "v1", "silent", "nothing-delegated"],
)
def test_files_where_there_is_nothing_else(
    machine: Machine, offers: dict[str, object], user: int, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine(**offers)
    assert cgroups.service_manager((), user, "") is None
    assert ("not by systemd" in caplog.text) == bool(offers.get("sockets", True))
    with pytest.raises(ConfigError, match=problem):
        cgroups.service_manager(ASKED, user, "")
