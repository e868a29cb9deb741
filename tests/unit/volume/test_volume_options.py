"""The local driver's options: what is refused, and what mount(2) is given."""

import pytest

from rundlet.linux import mount
from rundlet.volume import options
from rundlet.volume.options import MountPlan, VolumeOptionError


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"foo": "x"}, 'create v: invalid option: "foo"'),
        ({"type": "tmpfs"}, 'create v: missing required option: "device"'),
        ({"device": "/x"}, 'create v: missing required option: "type"'),
        ({"o": "ro"}, 'create v: missing required option: "device"'),
        ({"size": "1G"}, "create v: quota size requested but no quota support"),
    ],
)
def test_what_is_refused(chosen: dict[str, str], message: str) -> None:
    with pytest.raises(VolumeOptionError) as caught:
        options.check("v", chosen)
    assert str(caught.value) == message


def no_names(host: str) -> str:
    raise AssertionError(host)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=100m,uid=1000,noexec,nodev"},
            MountPlan("tmpfs", "tmpfs", mount.MS_NOEXEC | mount.MS_NODEV, "size=100m,uid=1000"),
        ),
        ({"type": "none", "device": "/srv", "o": "bind"}, MountPlan("/srv", "none", mount.MS_BIND, "")),
        ({"type": "none", "device": "/srv", "o": "rbind,ro,rw"}, MountPlan("/srv", "none", 0x5000, "")),
        (
            {"type": "nfs", "device": ":/export", "o": "addr=192.0.2.1,rw,nfsvers=4"},
            MountPlan(":/export", "nfs", 0, "addr=192.0.2.1,nfsvers=4"),
        ),
        ({}, MountPlan("", "", 0, "")),
    ],
)
def test_what_is_mounted(chosen: dict[str, str], expected: MountPlan) -> None:
    options.check("v", chosen)
    assert options.plan(chosen, no_names) == expected


def test_servers_by_name() -> None:
    chosen = {"type": "nfs", "device": ":/export", "o": "addr=nas.example,ro"}
    assert options.plan(chosen, {"nas.example": "192.0.2.7"}.__getitem__).data == "addr=192.0.2.7"
