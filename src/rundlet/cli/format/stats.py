"""The columns of ``stats``, computed from two samples as Docker computes them."""

from __future__ import annotations

from rundlet.cli.format.units import bytes_size, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_VALUE = "--"
COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


class Row:
    """One container's last sample; ``stats`` is None until one came."""

    __slots__ = ("asked", "identifier", "name", "stats")

    def __init__(self, identifier: str, name: str, asked: str, stats: dict[str, Any] | None = None) -> None:
        self.identifier = identifier
        self.asked = asked
        self.name = name
        self.stats = stats


def cpu_percent(stats: dict[str, Any]) -> float:
    """Of one CPU: two busy CPUs are 200."""
    now, before = stats.get("cpu_stats") or {}, stats.get("precpu_stats") or {}
    used = now["cpu_usage"]["total_usage"] - (before.get("cpu_usage") or {}).get("total_usage", 0)
    system = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    cpus = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or ())
    return used / system * cpus * 100.0 if used > 0 and system > 0 else 0.0


def memory_used(memory: dict[str, Any]) -> int:
    """Without the page cache that the kernel would give back first (names by cgroup version)."""
    details = memory.get("stats") or {}
    usage = int(memory.get("usage") or 0)
    for name in ("total_inactive_file", "inactive_file"):
        if details.get(name, usage) < usage:
            return usage - int(details[name])
    return usage


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _cpu(row: Row, full: bool) -> str:
    return NO_VALUE if row.stats is None else _percent(cpu_percent(row.stats))


def _memory(row: Row, full: bool) -> str:
    if row.stats is None:
        return f"{NO_VALUE} / {NO_VALUE}"
    memory = row.stats.get("memory_stats") or {}
    return f"{bytes_size(memory_used(memory))} / {bytes_size(memory.get('limit') or 0)}"


def _memory_percent(row: Row, full: bool) -> str:
    if row.stats is None:
        return NO_VALUE
    memory = row.stats.get("memory_stats") or {}
    limit = memory.get("limit") or 0
    return _percent(memory_used(memory) / limit * 100.0 if limit else 0.0)


def _network(row: Row, full: bool) -> str:
    if row.stats is None:
        return NO_VALUE
    cards = (row.stats.get("networks") or {}).values()
    received, sent = (sum(card[key] for card in cards) for key in ("rx_bytes", "tx_bytes"))
    return f"{human_size(received)} / {human_size(sent)}"


def _blocks(row: Row, full: bool) -> str:
    if row.stats is None:
        return NO_VALUE
    entries = (row.stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read = sum(entry["value"] for entry in entries if entry["op"].lower().startswith("r"))
    written = sum(entry["value"] for entry in entries if entry["op"].lower().startswith("w"))
    return f"{human_size(read)} / {human_size(written)}"


def _pids(row: Row, full: bool) -> str:
    return NO_VALUE if row.stats is None else str((row.stats.get("pids_stats") or {}).get("current", 0))


FIELDS = {
    "BlockIO": ("BLOCK I/O", _blocks),
    "CPUPerc": ("CPU %", _cpu),
    "Container": ("CONTAINER", lambda row, full: row.asked),
    "ID": ("CONTAINER ID", lambda row, full: row.identifier if full else row.identifier[:12]),
    "MemPerc": ("MEM %", _memory_percent),
    "MemUsage": ("MEM USAGE / LIMIT", _memory),
    "Name": ("NAME", lambda row, full: row.name or NO_VALUE),
    "NetIO": ("NET I/O", _network),
    "PIDs": ("PIDS", _pids),
}
