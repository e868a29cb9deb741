"""``rundlet update``."""

from __future__ import annotations

from rundlet.cli.each import container_path, for_each
from rundlet.cli.exit import CommandError, RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] CONTAINER [CONTAINER...]"
SHORT = "Update configuration of one or more containers"
ARGS = (1, -1)
FLAGS = (
    ("blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
    ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds"),
    ("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds"),
    ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    ("cpus", "", "decimal", "Number of CPUs"),
    ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("kernel-memory", "", "bytes", ""),
    ("memory", "m", "bytes", "Memory limit"),
    ("memory-reservation", "", "bytes", "Memory soft limit"),
    ("memory-swap", "", "swap", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
    ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    ("restart", "", "string", "Restart policy to apply when a container exits"),
    ("restart-unhealthy", "", "bool", "Restart the container when its health check finds it unhealthy"),
)
FIELDS = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpus": "NanoCpus",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "pids-limit": "PidsLimit",
    "restart-unhealthy": "RestartUnhealthy",
}


def run(call: Invocation) -> int:
    if call.flags["kernel-memory"]:
        from rundlet.cli.options.container import NO_KERNEL_MEMORY

        raise CommandError(NO_KERNEL_MEMORY)
    body: dict[str, Any] = {key: call.flags[flag] for flag, key in FIELDS.items() if call.given(flag)}
    if call.given("restart"):
        from rundlet.cli.options.container import restart_policy

        try:
            body["RestartPolicy"] = restart_policy(call.flags["restart"])
        except RunError as exc:
            raise CommandError(exc.message) from exc
    if not body:
        raise CommandError("you must provide one or more flags when using this command")
    warnings: list[str] = []

    def update(name: str) -> None:
        answer = call.context.session.post(container_path(name, "update"), body=body)
        warnings.extend((answer or {}).get("Warnings") or ())

    code = for_each(call.context, call.args, update)
    for warning in warnings:
        call.context.say(warning)
    return code
