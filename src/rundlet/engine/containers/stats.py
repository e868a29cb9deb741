"""``stats``: what a container uses, from the kernel's own counters."""

import asyncio
import os
from collections.abc import AsyncIterator

from rundlet.api.stats import (
    BlkioEntry,
    BlkioStats,
    ContainerStats,
    CPUStats,
    CPUUsage,
    MemoryStats,
    NetworkStats,
    PidsStats,
    ThrottlingData,
)
from rundlet.container.record import Record
from rundlet.container.state import is_running
from rundlet.engine import machine
from rundlet.engine.containers import documents, groups, processes
from rundlet.engine.context import Context
from rundlet.linux.cgroup.stats import BlockStats
from rundlet.util.clock import rfc3339_nano

INTERVAL = 1.0
LOOK = 0.5
"""Seconds between the two readings behind one answer: fifty of the ticks that the machine's own time is counted in."""
_TICKS = os.sysconf("SC_CLK_TCK")


class StatsService:
    """Readings a second apart."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[ContainerStats]:
        """Without end when ``stream``; else one reading, after a look at the CPU unless ``one_shot``."""
        record = self._context.containers.find(ref)
        return self._readings(record, stream=stream, one_shot=one_shot)

    async def _readings(self, record: Record, *, stream: bool, one_shot: bool) -> AsyncIterator[ContainerStats]:
        previous: ContainerStats | None = None
        if not stream and not one_shot and is_running(record.state.status):
            previous = await asyncio.to_thread(self.read, record, None)
            await asyncio.sleep(LOOK)
        while self._context.containers.has(record.id):
            record = self._context.containers.by_id(record.id)
            previous = await asyncio.to_thread(self.read, record, previous)
            yield previous
            if not stream:
                return
            await asyncio.sleep(INTERVAL)

    def read(self, record: Record, previous: ContainerStats | None) -> ContainerStats:
        """One reading; empty for a container that does not run."""
        base = ContainerStats(
            name=f"/{record.name}",
            id=record.id,
            read=rfc3339_nano(self._context.clock.now_ns()),
            preread=previous.read if previous else rfc3339_nano(0),
            precpu_stats=previous.cpu_stats if previous else CPUStats(),
        )
        if not is_running(record.state.status):
            return ContainerStats(name=base.name, id=base.id)
        host = documents.host(record)
        group = groups.group(record, self._context)
        found = group.stats() if group.directories else processes.usage(record)
        cpus = machine.cpus()
        limit = found.memory.limit if found.memory.limit is not None else machine.memory()
        return ContainerStats(
            name=base.name,
            id=base.id,
            read=base.read,
            preread=base.preread,
            precpu_stats=base.precpu_stats,
            pids_stats=PidsStats(current=found.pids.current, limit=found.pids.limit or 0),
            blkio_stats=BlkioStats(
                io_service_bytes_recursive=tuple(_entry(item) for item in found.block_bytes) or None,
                io_serviced_recursive=tuple(_entry(item) for item in found.block_operations) or None,
            ),
            cpu_stats=CPUStats(
                cpu_usage=CPUUsage(
                    total_usage=found.cpu.total,
                    percpu_usage=found.cpu.per_cpu,
                    usage_in_kernelmode=found.cpu.system,
                    usage_in_usermode=found.cpu.user,
                ),
                system_cpu_usage=_system_cpu(),
                online_cpus=cpus,
                throttling_data=ThrottlingData(
                    periods=found.cpu.periods,
                    throttled_periods=found.cpu.throttled_periods,
                    throttled_time=found.cpu.throttled_time,
                ),
            ),
            memory_stats=MemoryStats(
                usage=found.memory.usage,
                max_usage=found.memory.max_usage or 0,
                stats=found.memory.detail,
                failcnt=found.memory.failures or 0,
                limit=min(limit, machine.memory()),
            ),
            networks=_networks(record.state.pid) if host.network_mode not in ("host", "none") else {},
        )


def _entry(item: BlockStats) -> BlkioEntry:
    return BlkioEntry(major=item.major, minor=item.minor, op=item.operation, value=item.value)


def _system_cpu() -> int:
    """Nanoseconds that all CPUs of the machine have spent, idle time included."""
    with open("/proc/stat") as file:
        words = file.readline().split()[1:8]
    return sum(int(word) for word in words) * 10**9 // _TICKS


def _networks(pid: int) -> dict[str, NetworkStats]:
    """Counters of every interface but the loopback, seen from the container."""
    found: dict[str, NetworkStats] = {}
    try:
        with open(f"/proc/{pid}/net/dev") as file:
            lines = file.readlines()[2:]
    except OSError:
        return found
    for line in lines:
        name, _, numbers = line.partition(":")
        values = [int(number) for number in numbers.split()]
        if name.strip() == "lo":
            continue
        found[name.strip()] = NetworkStats(
            rx_bytes=values[0],
            rx_packets=values[1],
            rx_errors=values[2],
            rx_dropped=values[3],
            tx_bytes=values[8],
            tx_packets=values[9],
            tx_errors=values[10],
            tx_dropped=values[11],
        )
    return found
