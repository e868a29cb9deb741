"""The local driver's options: what is refused, and what mount(2) is given."""

import socket

import pytest

from rundlet.linux import mount
from rundlet.volume import options
from rundlet.volume.mounting import VolumeMountError
from rundlet.volume.options import MountPlan, VolumeOptionError
from rundlet.volume.store import Volume


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"foo": "x"}, 'create v: invalid option: "foo"'),
        ({"type": "tmpfs"}, 'create v: missing required option: "device"'),
        ({"device": "/x"}, 'create v: missing required option: "type"'),
        ({"o": "ro"}, 'create v: missing required option: "device"'),
        (
            {"type": "cifs", "device": "//nas.example:4450/share"},
            "create v: port not allowed in CIFS device URL, include 'port' in 'o='",
        ),
        ({"size": "1G"}, "create v: quota size requested but no quota support"),
        ({"size": "1.5 KiB"}, "create v: quota size requested but no quota support"),
        ({"size": "much"}, "create v: invalid size: 'much'"),
        ({"size": ""}, "create v: invalid size: ''"),
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
        (
            {"type": "cifs", "device": "//192.0.2.1/share", "o": "username=me,password=x"},
            MountPlan("//192.0.2.1/share", "cifs", 0, "username=me,password=x"),
        ),
    ],
)
def test_what_is_mounted(chosen: dict[str, str], expected: MountPlan) -> None:
    options.check("v", chosen)
    assert options.plan(chosen, no_names) == expected


@pytest.mark.parametrize(
    "chosen", [{}, {"size": "0"}, {"size": "0m"}, {"type": "", "device": ""}, {"type": "", "device": "", "o": "ro"}]
)
def test_what_is_a_plain_directory(chosen: dict[str, str]) -> None:
    options.check("v", chosen)
    assert not options.mounted(chosen)


def test_nothing_to_mount() -> None:
    chosen = {"type": "tmpfs", "device": ""}
    options.check("v", chosen)
    assert options.mounted(chosen)
    with pytest.raises(options.NoDeviceError):
        options.plan(chosen, no_names)


def test_servers_by_name() -> None:
    chosen = {"type": "nfs", "device": ":/export", "o": "addr=nas.example,ro"}
    assert options.plan(chosen, {"nas.example": "192.0.2.7"}.__getitem__).data == "addr=192.0.2.7"
    chosen = {"type": "cifs", "device": "//nas.example/a share/below", "o": "username=me"}
    assert options.plan(chosen, {"nas.example": "192.0.2.7"}.__getitem__).device == "//192.0.2.7/a share/below"
    chosen["o"] = "addr=nas.example"
    found = options.plan(chosen, {"nas.example": "192.0.2.7"}.__getitem__)
    assert (found.device, found.data) == ("//nas.example/a share/below", "addr=192.0.2.7")


def test_a_server_without_an_address_is_named() -> None:
    def unknown(host: str) -> str:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    for chosen in (
        {"type": "nfs", "device": ":/export", "o": "addr=nas.example"},
        {"type": "cifs", "device": "//nas.example/share"},
    ):
        with pytest.raises(options.UnknownAddressError) as caught:
            options.plan(chosen, unknown)
        assert caught.value.host == "nas.example"


def test_passwords_are_not_told() -> None:
    volume = Volume(name="v", path="/v", created_ns=0)
    wanted = MountPlan("//192.0.2.1/share", "cifs", 0, "username=me,password=secret,vers=3.0")
    said = str(VolumeMountError.of_kernel(volume, wanted, OSError(13, "Permission denied")))
    assert "secret" not in said
    assert said.endswith("flags: 0x0, data: username=me,password=********,vers=3.0: permission denied")
