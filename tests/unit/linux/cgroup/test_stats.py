from rundlet.linux.cgroup.stats import BlockStats, CpuStats, PidsStats, read_v1, read_v2

V1 = {
    "cpuacct.usage": "123456789\n",
    "cpuacct.usage_percpu": "100000000 23456789 \n",
    "cpuacct.stat": "user 7\nsystem 5\n",
    "cpu.stat": "nr_periods 10\nnr_throttled 3\nthrottled_time 999\n",
    "memory.usage_in_bytes": "4096\n",
    "memory.max_usage_in_bytes": "8192\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.failcnt": "2\n",
    "memory.stat": "cache 100\nrss 200\nswap 0\ntotal_inactive_file 50\n",
    "pids.current": "4\n",
    "pids.max": "max\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n",
    "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
}
V2 = {
    "cpu.stat": "usage_usec 1000\nuser_usec 600\nsystem_usec 400\nnr_periods 2\nnr_throttled 1\nthrottled_usec 5\n",
    "memory.current": "4096\n",
    "memory.peak": "8192\n",
    "memory.max": "67108864\n",
    "memory.swap.current": "0\n",
    "memory.stat": "anon 100\ninactive_file 50\n",
    "pids.current": "4\n",
    "pids.max": "100\n",
    "io.stat": "8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n8:16 \n",
}


def test_v1() -> None:
    stats = read_v1(lambda _, file: V1.get(file, ""))
    assert stats.cpu == CpuStats(123456789, 70_000_000, 50_000_000, (100000000, 23456789), 10, 3, 999)
    assert stats.memory[:5] == (4096, 8192, None, 2, 0)
    assert stats.memory.detail["total_inactive_file"] == 50
    assert stats.pids == PidsStats(4, None)
    assert stats.block_bytes == (
        BlockStats(8, 0, "read", 4096),
        BlockStats(8, 0, "write", 0),
        BlockStats(8, 0, "total", 4096),
    )
    assert stats.block_operations == ()


def test_v2() -> None:
    stats = read_v2(lambda _, file: V2.get(file, ""))
    assert stats.cpu == CpuStats(1_000_000, 600_000, 400_000, (), 2, 1, 5000)
    assert stats.memory[:5] == (4096, 8192, 67108864, None, 0)
    assert stats.pids == PidsStats(4, 100)
    assert stats.block_bytes == (BlockStats(8, 0, "read", 4096), BlockStats(8, 0, "write", 512))
    assert stats.block_operations == (BlockStats(8, 0, "read", 1), BlockStats(8, 0, "write", 2))


def test_a_cgroup_that_is_gone_has_used_nothing() -> None:
    for read in (read_v1, read_v2):
        stats = read(lambda *_: "")
        assert stats.cpu.total == 0
        assert stats.memory.usage == 0
        assert stats.memory.limit is None
