"""What a cgroup has used, read from its files and given in one shape for v1 and v2."""

import os
from collections.abc import Callable
from typing import Final, NamedTuple

# v1 says user and system time in ticks; USER_HZ is 100 on every machine that we run on.
_NANOSECONDS_PER_TICK: Final = 10_000_000
# v1 writes "no limit" as the largest multiple of a page that fits.
_NO_LIMIT: Final = 1 << 62

Reader = Callable[[str, str], str]
"""Gives the text of a controller's file; "" when the file is not there."""


class CpuStats(NamedTuple):
    """Times in nanoseconds; ``per_cpu`` is empty on v2."""

    total: int
    user: int
    system: int
    per_cpu: tuple[int, ...]
    periods: int
    throttled_periods: int
    throttled_time: int


class MemoryStats(NamedTuple):
    """Bytes. ``limit`` is None without one, ``max_usage`` and ``failures`` where the kernel doesn't count them.

    ``detail`` is memory.stat, with the kernel's keys of the version at hand.
    """

    usage: int
    max_usage: int | None
    limit: int | None
    failures: int | None
    swap_usage: int | None
    detail: dict[str, int]


class PidsStats(NamedTuple):
    """Tasks now, and the limit (None without one)."""

    current: int
    limit: int | None


class BlockStats(NamedTuple):
    """A counter of one device: ``operation`` is read, write, sync, async, discard or total, in lower case."""

    major: int
    minor: int
    operation: str
    value: int


class Stats(NamedTuple):
    cpu: CpuStats
    memory: MemoryStats
    pids: PidsStats
    block_bytes: tuple[BlockStats, ...]
    block_operations: tuple[BlockStats, ...]


def read_v1(read: Reader) -> Stats:
    """The statistics of a v1 cgroup; what a missing controller would tell is 0."""
    times = pairs(read("cpuacct", "cpuacct.stat"))
    throttling = pairs(read("cpu", "cpu.stat"))
    cpu = CpuStats(
        total=_integer(read("cpuacct", "cpuacct.usage")) or 0,
        user=times.get("user", 0) * _NANOSECONDS_PER_TICK,
        system=times.get("system", 0) * _NANOSECONDS_PER_TICK,
        per_cpu=tuple(int(word) for word in read("cpuacct", "cpuacct.usage_percpu").split()),
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_time=throttling.get("throttled_time", 0),
    )
    detail = pairs(read("memory", "memory.stat"))
    memory = MemoryStats(
        usage=_integer(read("memory", "memory.usage_in_bytes")) or 0,
        max_usage=_integer(read("memory", "memory.max_usage_in_bytes")),
        limit=_integer(read("memory", "memory.limit_in_bytes")),
        failures=_integer(read("memory", "memory.failcnt")),
        swap_usage=detail.get("swap"),
        detail=detail,
    )
    return Stats(
        cpu,
        memory,
        PidsStats(_integer(read("pids", "pids.current")) or 0, _integer(read("pids", "pids.max"))),
        _v1_blocks(read, "io_service_bytes_recursive"),
        _v1_blocks(read, "io_serviced_recursive"),
    )


def read_v2(read: Reader) -> Stats:
    """The statistics of a v2 cgroup; what a missing controller would tell is 0."""
    times = pairs(read("cpu", "cpu.stat"))
    cpu = CpuStats(
        total=times.get("usage_usec", 0) * 1000,
        user=times.get("user_usec", 0) * 1000,
        system=times.get("system_usec", 0) * 1000,
        per_cpu=(),
        periods=times.get("nr_periods", 0),
        throttled_periods=times.get("nr_throttled", 0),
        throttled_time=times.get("throttled_usec", 0) * 1000,
    )
    memory = MemoryStats(
        usage=_integer(read("memory", "memory.current")) or 0,
        max_usage=_integer(read("memory", "memory.peak")),
        limit=_integer(read("memory", "memory.max")),
        failures=None,
        swap_usage=_integer(read("memory", "memory.swap.current")),
        detail=pairs(read("memory", "memory.stat")),
    )
    io = read("io", "io.stat")
    return Stats(
        cpu,
        memory,
        PidsStats(_integer(read("pids", "pids.current")) or 0, _integer(read("pids", "pids.max"))),
        _v2_blocks(io, {"rbytes": "read", "wbytes": "write"}),
        _v2_blocks(io, {"rios": "read", "wios": "write"}),
    )


def file_reader(directory: Callable[[str], str | None]) -> Reader:
    """A reader of the files in the directory that ``directory`` names for a controller."""

    def read(controller: str, file: str) -> str:
        place = directory(controller)
        return "" if place is None else read_text(f"{place}/{file}")

    return read


def read_text(path: str) -> str:
    """The contents of a small file of the kernel's; "" when it is not there or its cgroup has just gone."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        chunks: list[bytes] = []
        while chunk := os.read(fd, 1 << 16):
            chunks.append(chunk)
        return b"".join(chunks).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def pairs(text: str) -> dict[str, int]:
    """Lines of a key and a number."""
    result: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if value.lstrip("-").isdigit():
            result[key] = int(value)
    return result


def _integer(text: str) -> int | None:
    """A file that holds one number; None for "max", for v1's "no limit", for none."""
    text = text.strip()
    if not text.isdigit():
        return None
    number = int(text)
    return None if number >= _NO_LIMIT else number


def _v1_blocks(read: Reader, name: str) -> tuple[BlockStats, ...]:
    # The counters of the I/O scheduler are better where it is in use; else only the throttling layer counts.
    for prefix in ("blkio.bfq", "blkio.throttle"):
        found = tuple(_v1_block_lines(read("blkio", f"{prefix}.{name}")))
        if found:
            return found
    return ()


def _v1_block_lines(text: str) -> list[BlockStats]:
    result: list[BlockStats] = []
    for line in text.splitlines():
        words = line.split()  # "8:0 Read 4096"; the last line is "Total 4096"
        if len(words) == 3 and ":" in words[0] and words[2].isdigit():
            major, _, minor = words[0].partition(":")
            result.append(BlockStats(int(major), int(minor), words[1].lower(), int(words[2])))
    return result


def _v2_blocks(text: str, operations: dict[str, str]) -> tuple[BlockStats, ...]:
    result: list[BlockStats] = []
    for line in text.splitlines():
        device, *words = line.split()  # "8:0 rbytes=4096 wbytes=0 rios=1 …"
        major, _, minor = device.partition(":")
        if not (major.isdigit() and minor.isdigit()):
            continue
        for word in words:
            key, _, value = word.partition("=")
            if key in operations and value.isdigit():
                result.append(BlockStats(int(major), int(minor), operations[key], int(value)))
    return tuple(result)
