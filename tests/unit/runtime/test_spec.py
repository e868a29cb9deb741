"""Requests become OCI configurations with Docker's defaults."""

from typing import Any

import pytest

from rundlet.errors import InvalidParameterError
from rundlet.linux import caps
from rundlet.runtime import spec
from rundlet.runtime.spec import HOST, CapabilityError, Limits, Namespace, Rlimit, SpecRequest, Throttle


def build(**options: Any) -> dict[str, Any]:
    return spec.build(SpecRequest(**{"args": ["true"], "hostname": "box"} | options))


def destinations(config: dict[str, Any]) -> list[str]:
    return [mount["destination"] for mount in config["mounts"]]


def test_defaults() -> None:
    config = build()
    assert destinations(config) == [
        "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm",
    ]  # fmt: skip
    assert [entry["type"] for entry in config["linux"]["namespaces"]] == [
        "mount", "network", "uts", "pid", "ipc", "cgroup",
    ]  # fmt: skip
    assert config["process"]["capabilities"]["bounding"] == list(caps.DEFAULT)
    assert "inheritable" not in config["process"]["capabilities"]
    assert config["linux"]["maskedPaths"][:3] == ["/proc/asound", "/proc/acpi", "/proc/interrupts"]
    assert config["process"]["env"][:2] == [f"PATH={spec.DEFAULT_PATH}", "HOSTNAME=box"]
    assert config["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}


def test_environment_is_replaced_in_place() -> None:
    env = build(tty=True, env=["FOO=1", "PATH=/mine", "TERM=dumb", "FOO=2", "HOSTNAME"])["process"]["env"]
    assert env == ["PATH=/mine", "TERM=dumb", "FOO=2"]


def test_capabilities() -> None:
    def names(**options: Any) -> list[str]:
        return spec.capability_names(SpecRequest(**options))

    assert "CAP_NET_ADMIN" in names(cap_add=["net_admin"])
    assert names(cap_drop=["ALL"], cap_add=["CHOWN"]) == ["CAP_CHOWN"]
    assert names(cap_drop=["all"]) == []
    every = caps.names(caps.kernel_mask())
    assert names(cap_add=["ALL"]) == names(privileged=True) == every
    assert "CAP_MKNOD" not in names(cap_add=["ALL"], cap_drop=["MKNOD"])
    with pytest.raises(CapabilityError, match='invalid CapAdd: unknown capability: "CAP_FLY"'):
        names(cap_add=["FLY"])


def test_privileged() -> None:
    config = build(privileged=True)
    assert config["linux"]["maskedPaths"] == config["linux"]["readonlyPaths"] == []
    assert config["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert all("ro" not in mount["options"] for mount in config["mounts"])
    assert any(device["path"] == "/dev/null" for device in config["linux"]["devices"])


def test_namespaces() -> None:
    config = build(
        namespaces={"pid": HOST, "uts": HOST, "network": HOST, "ipc": Namespace("/proc/42/ns/ipc")},
        sysctls={"a.b": "1"},
    )
    kinds = {entry["type"]: entry.get("path") for entry in config["linux"]["namespaces"]}
    assert kinds == {"mount": None, "ipc": "/proc/42/ns/ipc", "cgroup": None}
    assert "hostname" not in config
    assert config["linux"]["sysctl"] == {"a.b": "1"}
    shm = next(mount for mount in config["mounts"] if mount["destination"] == "/dev/shm")
    assert (shm["type"], shm["mountNamespace"]) == ("bind", "/proc/42/ns/mnt")
    assert "/dev/shm" not in destinations(build(namespaces={"ipc": Namespace("new")}))


def test_mounts_of_the_user_replace_and_come_in_depth_order() -> None:
    def bind(where: str) -> dict[str, Any]:
        return {"type": "bind", "source": "/x", "destination": where, "options": ["rbind"]}

    assert destinations(build(mounts=[bind("/a/b/c"), bind("/a"), bind("/dev/shm")])) == [
        "/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/a", "/dev/shm", "/a/b/c",
    ]  # fmt: skip
    assert destinations(build(mounts=[bind("/dev")])) == ["/proc", "/sys", "/sys/fs/cgroup", "/dev"]


def test_limits() -> None:
    limits = Limits(memory=1 << 20, memory_swap=-1, nano_cpus=1_500_000_000, pids=5, cpuset_cpus="0")
    assert spec.resources(limits) == {
        "memory": {"limit": 1 << 20, "swap": -1},
        "cpu": {"quota": 150_000, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 5},
    }
    assert set(limits.controllers()) == {"memory", "cpu", "pids", "cpuset"}
    assert spec.resources(Limits()) == {}
    assert Limits().controllers() == []
    throttled = spec.resources(Limits(read_bps=[Throttle("/dev/null", 7)]))
    assert throttled == {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 7}]}}


def test_rlimits_and_rules() -> None:
    assert build(rlimits=[Rlimit("nofile", 1, 2)])["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}
    ]
    with pytest.raises(InvalidParameterError, match="invalid ulimit type: nothing"):
        build(rlimits=[Rlimit("nothing", 1, 1)])
    rules = build(device_cgroup_rules=["c 42:* rmw"])["linux"]["resources"]["devices"]
    assert rules[-1] == {"allow": True, "type": "c", "access": "rmw", "major": 42}
    with pytest.raises(InvalidParameterError, match="invalid device cgroup rule format"):
        build(device_cgroup_rules=["x 1:1 rwm"])
    with pytest.raises(InvalidParameterError, match="error gathering device information"):
        build(devices=[spec.DeviceRequest("/dev/not-there", "/dev/x")])


def test_read_only_and_domain() -> None:
    config = build(read_only=True, domainname="example", privileged=True)
    assert config["root"]["readonly"]
    assert config["domainname"] == "example"
    readonly = [mount["destination"] for mount in config["mounts"] if "ro" in mount["options"]]
    assert readonly == ["/sys", "/sys/fs/cgroup"]
