"""What is refused before anything is made."""

import pytest

from rundlet.api.container_config import (
    ContainerConfig,
    HealthConfig,
    HostConfig,
    LogConfig,
    PortBinding,
    RestartPolicy,
)
from rundlet.engine.refusals import check
from rundlet.errors import InvalidParameterError, NotSupportedError, RundletError

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("host", "kind", "message"),
    [
        (HostConfig(memory=MEGABYTE), InvalidParameterError, "Minimum memory limit allowed is 6MB"),
        (HostConfig(memory=-1), InvalidParameterError, "Minimum memory limit allowed is 6MB"),
        (HostConfig(memory=64 * MEGABYTE, memory_swap=32 * MEGABYTE), InvalidParameterError, "memoryswap limit"),
        (HostConfig(memory_swap=MEGABYTE), InvalidParameterError, "always set the Memory limit"),
        (
            HostConfig(nano_cpus=10**9, cpu_quota=5),
            InvalidParameterError,
            "CPU Quota cannot both be set$",
        ),
        (HostConfig(kernel_memory=1), NotSupportedError, "KernelMemory is not supported by Rundlet"),
        (HostConfig(restart_policy=RestartPolicy(name="often")), InvalidParameterError, "unknown policy 'often'"),
        (
            HostConfig(restart_policy=RestartPolicy(name="always"), auto_remove=True),
            InvalidParameterError,
            "AutoRemove",
        ),
        (
            HostConfig(restart_policy=RestartPolicy(name="always", maximum_retry_count=-2)),
            InvalidParameterError,
            "maximum retry count can only be used with 'on-failure' and cannot be negative",
        ),
        (
            HostConfig(port_bindings={"80/tcp": (PortBinding(host_port="8010-8000"),)}),
            InvalidParameterError,
            'invalid port specification: "8010-8000"',
        ),
        (HostConfig(pid_mode="somewhere"), InvalidParameterError, "invalid PID mode: somewhere"),
        (HostConfig(ipc_mode="odd"), InvalidParameterError, "invalid IPC mode"),
        (HostConfig(uts_mode="odd"), InvalidParameterError, "invalid UTS mode"),
        (HostConfig(dns_search=("a\nnameserver 6.6.6.6",)), InvalidParameterError, "invalid DNS search domain"),
        (HostConfig(extra_hosts=("a:1.2.3.4\n",)), InvalidParameterError, "invalid extra host"),
        (HostConfig(cap_add=("CHOWN", "FOO")), InvalidParameterError, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        (HostConfig(cap_drop=("ALL", "CAP_FOO")), InvalidParameterError, "invalid CapDrop"),
        (HostConfig(cpu_shares=-1), InvalidParameterError, r"invalid CPU shares \(-1\): value must be a positive"),
        (HostConfig(annotations={"": "a"}), InvalidParameterError, "invalid Annotations: the empty string"),
        (
            HostConfig(isolation="hyperv"),
            InvalidParameterError,
            "linux only supports 'default'",
        ),
    ],
)
def test_host_configuration(host: HostConfig, kind: type[RundletError], message: str) -> None:
    with pytest.raises(kind, match=message):
        check(ContainerConfig(), host)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ContainerConfig(working_dir="relative"), "needs to be an absolute path"),
        (ContainerConfig(hostname="under score!"), "invalid hostname format"),
        (ContainerConfig(env=("A=b", "=foo")), "invalid environment variable: =foo"),
        (ContainerConfig(env=("",)), "invalid environment variable: "),
        (ContainerConfig(healthcheck=HealthConfig(interval=-1)), "Interval in Healthcheck cannot be less than 1ms"),
        (ContainerConfig(healthcheck=HealthConfig(retries=-1)), "Retries in Healthcheck cannot be negative"),
    ],
)
def test_container_configuration(config: ContainerConfig, message: str) -> None:
    with pytest.raises(InvalidParameterError, match=message):
        check(config, HostConfig())


def test_what_clients_always_send_is_accepted() -> None:
    check(
        ContainerConfig(hostname="box", working_dir="/srv"),
        HostConfig(
            restart_policy=RestartPolicy(name="no"),
            log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            dns_search=("example.com", "."),
            extra_hosts=("db:10.0.0.1", "host.docker.internal:host-gateway"),
            memory=64 * MEGABYTE,
            memory_swap=-1,
        ),
    )
