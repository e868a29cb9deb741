"""Resource use of a container, as ``GET /containers/{id}/stats`` streams it. Times in nanoseconds, sizes in bytes."""

from rundlet.api.base import ZERO_TIME, LowerWire, always, optional_map


class BlkioEntry(LowerWire, frozen=True):
    major: int = always(0)
    minor: int = always(0)
    op: str = always("")
    value: int = always(0)


class BlkioStats(LowerWire, frozen=True):
    io_service_bytes_recursive: tuple[BlkioEntry, ...] | None = always(None)
    io_serviced_recursive: tuple[BlkioEntry, ...] | None = always(None)
    io_queue_recursive: tuple[BlkioEntry, ...] | None = always(None)
    io_service_time_recursive: tuple[BlkioEntry, ...] | None = always(None)
    io_wait_time_recursive: tuple[BlkioEntry, ...] | None = always(None)
    io_merged_recursive: tuple[BlkioEntry, ...] | None = always(None)
    io_time_recursive: tuple[BlkioEntry, ...] | None = always(None)
    sectors_recursive: tuple[BlkioEntry, ...] | None = always(None)


class CPUUsage(LowerWire, frozen=True):
    total_usage: int = always(0)
    percpu_usage: tuple[int, ...] = ()
    usage_in_kernelmode: int = always(0)
    usage_in_usermode: int = always(0)


class ThrottlingData(LowerWire, frozen=True):
    periods: int = always(0)
    throttled_periods: int = always(0)
    throttled_time: int = always(0)


class CPUStats(LowerWire, frozen=True):
    """``system_cpu_usage`` is the whole machine's; ``online_cpus`` the container's share of it."""

    cpu_usage: CPUUsage = always(CPUUsage())
    system_cpu_usage: int = 0
    online_cpus: int = 0
    throttling_data: ThrottlingData = always(ThrottlingData())


class MemoryStats(LowerWire, frozen=True):
    usage: int = 0
    max_usage: int = 0
    stats: dict[str, int] = optional_map()
    failcnt: int = 0
    limit: int = 0


class PidsStats(LowerWire, frozen=True):
    current: int = 0
    limit: int = 0


class NetworkStats(LowerWire, frozen=True):
    rx_bytes: int = always(0)
    rx_packets: int = always(0)
    rx_errors: int = always(0)
    rx_dropped: int = always(0)
    tx_bytes: int = always(0)
    tx_packets: int = always(0)
    tx_errors: int = always(0)
    tx_dropped: int = always(0)


class StorageStats(LowerWire, frozen=True):
    """Filled on Windows only; always there."""


class ContainerStats(LowerWire, frozen=True):
    """One reading. ``preread`` and ``precpu_stats`` are those of the reading before, zero in the first."""

    name: str = always("")
    id: str = always("")
    read: str = always(ZERO_TIME)
    preread: str = always(ZERO_TIME)
    pids_stats: PidsStats = always(PidsStats())
    blkio_stats: BlkioStats = always(BlkioStats())
    num_procs: int = always(0)
    storage_stats: StorageStats = always(StorageStats())
    cpu_stats: CPUStats = always(CPUStats())
    precpu_stats: CPUStats = always(CPUStats())
    memory_stats: MemoryStats = always(MemoryStats())
    networks: dict[str, NetworkStats] = optional_map()
