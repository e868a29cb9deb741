"""The body of ``POST /containers/create`` from the flags of ``run`` and ``create``."""

from __future__ import annotations

from rundlet.cli.exit import RunError
from rundlet.cli.options.environment import environment, labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


MODES = (
    ("pid", ("host",), "PID"),
    ("uts", ("host",), "UTS"),
    ("userns", ("host",), "USER"),
    ("cgroupns", ("host", "private"), "CGROUP"),
)
NO_KERNEL_MEMORY = "--kernel-memory is not supported by Rundlet"
"""The API has no field for it any more."""


def create_body(flags: Any, image: str, command: list[str]) -> dict[str, Any]:
    """Everything the engine needs to make the container. Raises RunError."""
    _refuse(flags)
    attach = attached(flags)
    interactive = flags["interactive"]
    body: dict[str, Any] = {
        "Hostname": flags["hostname"],
        "Domainname": flags["domainname"],
        "User": flags["user"],
        "AttachStdin": "stdin" in attach,
        "AttachStdout": "stdout" in attach,
        "AttachStderr": "stderr" in attach,
        "Tty": flags["tty"],
        "OpenStdin": interactive,
        "StdinOnce": interactive and "stdin" in attach,
        "Env": environment(flags["env"], flags["env-file"]),
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": flags["workdir"],
        "Labels": labels(flags["label"], flags["label-file"]),
        "Volumes": {},
    }
    if "entrypoint" in flags.given:
        # --entrypoint="" clears the image's; the API says that with one empty word.
        body["Entrypoint"] = [flags["entrypoint"]]
    if flags["stop-signal"]:
        body["StopSignal"] = flags["stop-signal"]
    if "stop-timeout" in flags.given:
        body["StopTimeout"] = flags["stop-timeout"]
    healthcheck = _healthcheck(flags)
    if healthcheck:
        body["Healthcheck"] = healthcheck
    body["HostConfig"] = _host_config(flags, body)
    return body


def _refuse(flags: Any) -> None:
    """Modes that this side checks, and flags that Rundlet does not do. Raises RunError."""
    for name, words, label in MODES:
        mode = flags[name]
        if name == "userns" and (mode == "auto" or mode.startswith("auto:")):
            continue  # the engine knows what may follow
        if mode and mode not in words and not (mode.startswith("container:") and len(mode) > 10 and name == "pid"):
            raise RunError(f"--{name}: invalid {label} mode")
    if flags["kernel-memory"]:
        raise RunError(NO_KERNEL_MEMORY)
    for name in ("cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"):
        if flags[name]:
            raise RunError(f"--{name} is for Windows containers and not supported by Rundlet")


def attached(flags: Any) -> frozenset[str]:
    """The streams that ``run`` attaches to: -a, else output (and input with -i); none with -d."""
    chosen = set(flags["attach"])
    if flags.get("detach"):
        return frozenset()
    if not chosen:
        chosen = {"stdout", "stderr"} | ({"stdin"} if flags["interactive"] else set())
    return frozenset(chosen)


def _healthcheck(flags: Any) -> dict[str, Any]:
    names = ("health-interval", "health-timeout", "health-retries", "health-start-period", "health-start-interval")
    any_given = bool(flags["health-cmd"]) or any(flags[name] for name in names)
    if flags["no-healthcheck"]:
        if any_given:
            raise RunError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not any_given:
        return {}
    out: dict[str, Any] = {}
    if flags["health-cmd"]:
        out["Test"] = ["CMD-SHELL", flags["health-cmd"]]
    for name in names:
        value = flags[name]
        if value < 0:
            raise RunError(f"--{name} cannot be negative")
        key = "".join(part.capitalize() for part in name.split("-")[1:])
        if value:
            out[key] = value
    return out


def restart_policy(text: str) -> dict[str, Any]:
    """``on-failure:3``. Raises RunError."""
    name, colon, count = text.partition(":")
    policy: dict[str, Any] = {"Name": name}
    if not text:
        return policy
    if colon and not name:
        raise RunError("invalid restart policy format: no policy provided before colon")
    if count:
        try:
            policy["MaximumRetryCount"] = int(count)
        except ValueError as exc:
            raise RunError("invalid restart policy format: maximum retry count must be an integer") from exc
    return policy


def _host_config(flags: Any, body: dict[str, Any]) -> dict[str, Any]:
    host: dict[str, Any] = {
        "AutoRemove": bool(flags.get("rm")),
        "Privileged": flags["privileged"],
        "PublishAllPorts": flags["publish-all"],
        "ReadonlyRootfs": flags["read-only"],
        "RestartPolicy": restart_policy(flags["restart"]),
        "OomScoreAdj": flags["oom-score-adj"],
    }
    if flags.get("rm") and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise RunError("conflicting options: cannot specify both --restart and --rm")
    _strings(flags, host)
    _resources(flags, host)
    _storage(flags, host, body)
    _network(flags, host, body)
    _security(flags, host)
    if flags["init"] or "init" in flags.given:
        host["Init"] = flags["init"]
    if flags["log-driver"] or flags["log-opt"]:
        if flags["log-driver"] == "none" and flags["log-opt"]:
            raise RunError("invalid logging opts for driver none")
        host["LogConfig"] = {"Type": flags["log-driver"], "Config": dict(_pairs(flags["log-opt"]))}
    if flags["restart-unhealthy"]:
        host["RestartUnhealthy"] = True
    if flags["annotation"]:
        host["Annotations"] = dict(flags["annotation"])
    return host


def _pairs(texts: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (text.partition("=") for text in texts)]


def _capability(name: str) -> str:
    """``net_admin`` as ``CAP_NET_ADMIN``; ``ALL`` stays."""
    name = name.strip().upper()
    return name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"


def _strings(flags: Any, host: dict[str, Any]) -> None:
    """Flags that are passed on as they are, when given."""
    fields = (
        ("rootfs", "Rootfs"),
        ("runtime", "Runtime"),
        ("cgroup-parent", "CgroupParent"),
        ("cgroupns", "CgroupnsMode"),
        ("ipc", "IpcMode"),
        ("isolation", "Isolation"),
        ("pid", "PidMode"),
        ("userns", "UsernsMode"),
        ("uts", "UTSMode"),
        ("volume-driver", "VolumeDriver"),
        ("cidfile", "ContainerIDFile"),
        ("group-add", "GroupAdd"),
        ("cap-add", "CapAdd"),
        ("cap-drop", "CapDrop"),
        ("volumes-from", "VolumesFrom"),
        ("dns-search", "DnsSearch"),
        ("dns-option", "DnsOptions"),
        ("dns", "Dns"),
    )
    for flag, key in fields:
        if flags[flag]:
            host[key] = flags[flag]
    for key in ("CapAdd", "CapDrop"):
        if key in host:
            host[key] = sorted({_capability(name) for name in host[key]})
    if flags["storage-opt"]:
        if any("=" not in text for text in flags["storage-opt"]):
            raise RunError("invalid storage option")
        host["StorageOpt"] = dict(_pairs(flags["storage-opt"]))
    if flags["sysctl"]:
        host["Sysctls"] = dict(flags["sysctl"])


def _resources(flags: Any, host: dict[str, Any]) -> None:
    fields = (
        ("memory", "Memory"),
        ("memory-reservation", "MemoryReservation"),
        ("memory-swap", "MemorySwap"),
        ("cpus", "NanoCpus"),
        ("cpu-shares", "CpuShares"),
        ("cpu-period", "CpuPeriod"),
        ("cpu-quota", "CpuQuota"),
        ("cpu-rt-period", "CpuRealtimePeriod"),
        ("cpu-rt-runtime", "CpuRealtimeRuntime"),
        ("cpuset-cpus", "CpusetCpus"),
        ("cpuset-mems", "CpusetMems"),
        ("blkio-weight", "BlkioWeight"),
        ("pids-limit", "PidsLimit"),
        ("shm-size", "ShmSize"),
        ("device-cgroup-rule", "DeviceCgroupRules"),
    )
    for flag, key in fields:
        if flags[flag]:
            host[key] = flags[flag]
    if flags["ulimit"]:
        host["Ulimits"] = sorted(
            {one["Name"]: one for one in flags["ulimit"]}.values(), key=lambda one: str(one["Name"])
        )
    swappiness = flags["memory-swappiness"]
    if swappiness != -1:
        if not 0 <= swappiness <= 100:
            raise RunError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
        host["MemorySwappiness"] = swappiness
    if flags["oom-kill-disable"]:
        host["OomKillDisable"] = True
    _devices(flags, host)


def _devices(flags: Any, host: dict[str, Any]) -> None:
    if flags["device"] or flags["gpus"]:
        from rundlet.cli.options.devices import devices

        host["Devices"], requests = devices(flags["device"])
        if requests or flags["gpus"]:
            host["DeviceRequests"] = [*flags["gpus"], *requests]
    for flag, key in (
        ("device-read-bps", "BlkioDeviceReadBps"),
        ("device-write-bps", "BlkioDeviceWriteBps"),
        ("device-read-iops", "BlkioDeviceReadIOps"),
        ("device-write-iops", "BlkioDeviceWriteIOps"),
        ("blkio-weight-device", "BlkioWeightDevice"),
    ):
        if flags[flag]:
            host[key] = flags[flag]


def _storage(flags: Any, host: dict[str, Any], body: dict[str, Any]) -> None:
    if not (flags["volume"] or flags["mount"] or flags["tmpfs"]):
        return
    from rundlet.cli.options.mounts import tmpfs, volumes

    binds, body["Volumes"] = volumes(flags["volume"])
    if binds:
        host["Binds"] = binds
    if flags["mount"]:
        host["Mounts"] = flags["mount"]
    if flags["tmpfs"]:
        host["Tmpfs"] = tmpfs(flags["tmpfs"])


def _network(flags: Any, host: dict[str, Any], body: dict[str, Any]) -> None:
    host["NetworkMode"] = "default"
    names = ("network", "network-alias", "link-local-ip", "ip", "ip6", "mac-address", "link")
    if any(flags[name] for name in names):
        from rundlet.cli.options.networks import networking

        host["NetworkMode"], endpoints = networking(flags)
        if endpoints:
            body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
        if flags["link"]:
            host["Links"] = flags["link"]
    if flags["add-host"]:
        host["ExtraHosts"] = flags["add-host"]
    if flags["publish"] or flags["expose"]:
        from rundlet.cli.options.ports import publish

        exposed, bindings = publish(flags["publish"], flags["expose"])
        if exposed:
            body["ExposedPorts"] = exposed
        if bindings:
            host["PortBindings"] = bindings


def _compact_json(text: str, path: str) -> str:
    import json

    try:
        return json.dumps(json.loads(text), separators=(",", ":"))
    except ValueError as exc:
        raise RunError(f"compacting json for seccomp profile ({path}) failed: {exc}") from exc


def _security(flags: Any, host: dict[str, Any]) -> None:
    options: list[str] = []
    for given in flags["security-opt"]:
        text = str(given)
        if text == "systempaths=unconfined":
            host["MaskedPaths"], host["ReadonlyPaths"] = [], []
            continue
        name, equals, value = text.partition("=")
        if not equals and ":" in text:
            name, equals, value = text.partition(":")
        if name == "seccomp" and value not in ("unconfined", "builtin", ""):
            # The profile is a file here, not where the engine runs: its content is sent.
            try:
                with open(value, encoding="utf-8") as file:
                    options.append(f"seccomp={_compact_json(file.read(), value)}")
            except OSError as exc:
                reason = f"open {value}: {(exc.strerror or '').lower()}"
                raise RunError(f"opening seccomp profile ({value}) failed: {reason}") from exc
            continue
        if not equals and text != "no-new-privileges":
            raise RunError(f'Invalid --security-opt: "{text}"')
        options.append(text)
    if options:
        host["SecurityOpt"] = options
