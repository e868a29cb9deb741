"""What a container is asked to be and Rundlet does not carry out: refused by name, never ignored.

Each entry is the field as the Engine API spells it, and what of it is accepted.
"""

import re

from rundlet.api.container_config import ContainerConfig, HostConfig, Resources, RestartPolicy
from rundlet.engine.containers import signals
from rundlet.errors import InvalidParameterError, NotFoundError, NotSupportedError
from rundlet.network import etc_files
from rundlet.runtime import spec

_ZERO_OR_ABSENT = (
    ("kernel_memory", "KernelMemory"),
    ("kernel_memory_tcp", "KernelMemoryTCP"),
    ("cpu_count", "CpuCount"),
    ("cpu_percent", "CpuPercent"),
    ("io_maximum_iops", "IOMaximumIOps"),
    ("io_maximum_bandwidth", "IOMaximumBandwidth"),
)
_HOST_ABSENT = (("cgroup", "Cgroup"),)
_RESTART = frozenset({"", "no", "always", "unless-stopped", "on-failure"})
_MODE = re.compile(r"(?:|host|container:.+)\Z")
MINIMUM_MEMORY = 6 << 20


def check_resources(resources: Resources) -> None:
    """Limits, for create and update. Raises InvalidParameterError, NotSupportedError."""
    for name, wire in _ZERO_OR_ABSENT:
        if getattr(resources, name):
            raise NotSupportedError(wire)
    swappiness = resources.memory_swappiness
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidParameterError(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise InvalidParameterError("Range of blkio weight is from 10 to 1000")
    if resources.cpu_shares < 0:
        raise InvalidParameterError(f"invalid CPU shares ({resources.cpu_shares}): value must be a positive integer")
    if resources.memory and resources.memory < MINIMUM_MEMORY:
        raise InvalidParameterError("Minimum memory limit allowed is 6MB")
    if resources.memory > 0 and 0 < resources.memory_swap < resources.memory:
        raise InvalidParameterError("Minimum memoryswap limit should be larger than memory limit, see usage")
    if resources.memory == 0 and resources.memory_swap > 0:
        raise InvalidParameterError("You should always set the Memory limit when using Memoryswap limit, see usage")
    if 0 < resources.memory_reservation < MINIMUM_MEMORY:
        raise InvalidParameterError("Minimum memory reservation allowed is 6MB")
    if 0 < resources.memory < resources.memory_reservation:
        raise InvalidParameterError("Minimum memory limit can not be less than memory reservation limit, see usage")
    if resources.nano_cpus and (resources.cpu_period or resources.cpu_quota):
        raise InvalidParameterError(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set"
            if resources.cpu_period
            else "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
        )


def _check_ports(host: HostConfig) -> None:
    """Raises InvalidParameterError for what is no number, before anything is made."""
    for key, bindings in (host.port_bindings or {}).items():
        container_port = key.partition("/")[0]
        for text in (container_port, *(binding.host_port for binding in bindings or () if binding.host_port)):
            first, dash, last = text.partition("-")
            numbers = (first, last) if dash and text is not container_port else (text,)
            there_are = all(number.isascii() and number.isdigit() and int(number) <= 65535 for number in numbers)
            if not there_are or int(numbers[0]) > int(numbers[-1]):
                raise InvalidParameterError(f'invalid port specification: "{text}"')


def check(config: ContainerConfig, host: HostConfig) -> None:
    """A create request, as far as it is wrong everywhere. Raises InvalidParameterError, NotSupportedError."""
    check_resources(host)
    _check_ports(host)
    for name, wire in _HOST_ABSENT:
        if getattr(host, name):
            raise NotSupportedError(wire)
    if host.isolation not in ("", "default"):
        raise InvalidParameterError(f"invalid isolation ({host.isolation}): linux only supports 'default'")
    if host.volume_driver not in ("", "local") and _makes_volumes(config, host):
        raise NotFoundError(
            f'error looking up volume plugin {host.volume_driver}: plugin "{host.volume_driver}" not found'
        )
    _check_health(config)
    for variable in config.env or ():
        if not variable.partition("=")[0]:
            raise InvalidParameterError(f"invalid environment variable: {variable}")
    # An image's configuration was written by anybody; a request's strings were looked at when they were read.
    for text in (*(config.env or ()), *(config.entrypoint or ()), *(config.cmd or ()), config.working_dir, config.user):
        if "\0" in text:
            raise InvalidParameterError(f"a null byte in the container's configuration: {text!r}")
    if "" in (host.annotations or ()):
        raise InvalidParameterError("invalid Annotations: the empty string is not permitted as an annotation key")
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidParameterError(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    check_restart(host.restart_policy, auto_remove=host.auto_remove)
    spec.check_capabilities(host.cap_add or (), host.cap_drop or ())
    _check_modes(host)
    _check_names(host)
    if config.domainname:
        _check_hostname(config.domainname)
    if config.hostname:
        _check_hostname(config.hostname)
    if config.stop_signal:
        signals.parse(config.stop_signal)
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidParameterError(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.shm_size < 0:
        raise InvalidParameterError("SHM size can not be less than 0")


def _check_health(config: ContainerConfig) -> None:
    health = config.healthcheck
    if health is None:
        return
    for name in ("interval", "timeout", "start_period", "start_interval"):
        value = getattr(health, name)
        if value and value < 1_000_000:
            title = name.title().replace("_", "")
            raise InvalidParameterError(f"{title} in Healthcheck cannot be less than 1ms")
    if health.retries < 0:
        raise InvalidParameterError("Retries in Healthcheck cannot be negative")


def check_restart(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """For create and update. Raises InvalidParameterError."""
    if policy.name not in _RESTART:
        raise InvalidParameterError(
            f"invalid restart policy: unknown policy '{policy.name}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    problems: list[str] = []
    if policy.maximum_retry_count and policy.name != "on-failure":
        problems.append("can only be used with 'on-failure'")
    if policy.maximum_retry_count < 0:
        problems.append("cannot be negative")
    if problems:
        raise InvalidParameterError(f"invalid restart policy: maximum retry count {' and '.join(problems)}")
    if policy.name not in ("", "no") and auto_remove:
        raise InvalidParameterError("can't create 'AutoRemove' container with restart policy")


def _check_modes(host: HostConfig) -> None:
    if not _MODE.match(host.pid_mode):
        raise InvalidParameterError(f"invalid PID mode: {host.pid_mode}")
    if host.uts_mode not in ("", "host"):
        raise InvalidParameterError(f"invalid UTS mode: {host.uts_mode}")
    if host.ipc_mode not in ("", "none", "private", "shareable", "host") and not host.ipc_mode.startswith("container:"):
        raise InvalidParameterError(f"invalid IPC mode: {host.ipc_mode}")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidParameterError(f"invalid cgroup namespace mode: {host.cgroupns_mode}")


def _check_names(host: HostConfig) -> None:
    """What is written into a line of the container's /etc must be one word. Raises InvalidParameterError."""
    for what, values in (
        ("DNS search domain", host.dns_search),
        ("DNS option", host.dns_options),
        ("DNS address", host.dns),
        ("extra host", host.extra_hosts),
    ):
        for value in values or ():
            if any(character.isspace() or not character.isprintable() for character in value):
                raise InvalidParameterError(f"invalid {what}: {value!r}")
    for value in host.extra_hosts or ():
        etc_files.parse_extra_host(value, ("0.0.0.0",))  # raises InvalidAddressError; the start finds the gateways


def _check_hostname(name: str) -> None:
    if len(name) > 63 or not re.fullmatch(r"[a-zA-Z0-9._-]+", name):
        raise InvalidParameterError(f"invalid hostname format: {name}")


def _makes_volumes(config: ContainerConfig, host: HostConfig) -> bool:
    """Whether the driver would be asked for one: it is for the volumes of ``-v`` and of the image."""
    return bool(config.volumes) or any(not bind.startswith("/") or ":" not in bind for bind in host.binds or ())
