from rundlet.linux.cgroup.layout import Hierarchy, Layout, parse_mountinfo

HYBRID = """25 20 0:21 / /sys rw - sysfs sysfs rw
26 25 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw
27 26 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
28 26 0:24 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
29 26 0:25 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
30 26 0:26 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
31 26 0:24 / /mnt/with\\040blank rw,relatime - cgroup cgroup rw,memory
broken line
"""
V2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_hybrid() -> None:
    hierarchies, unified = parse_mountinfo(HYBRID.splitlines())
    assert hierarchies == (
        Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct"),
        Hierarchy(("memory",), "/sys/fs/cgroup/memory"),
        Hierarchy(("name=systemd",), "/sys/fs/cgroup/systemd"),
    )
    assert unified == "/sys/fs/cgroup/unified"


def test_v2() -> None:
    assert parse_mountinfo(V2.splitlines()) == ((), "/sys/fs/cgroup")


def test_a_mount_elsewhere_with_a_blank_in_its_name() -> None:
    hierarchies, _ = parse_mountinfo([HYBRID.splitlines()[6]])
    assert hierarchies == (Hierarchy(("memory",), "/mnt/with blank"),)


def test_controllers_are_those_that_limit() -> None:
    hierarchies, unified = parse_mountinfo(HYBRID.splitlines())
    layout = Layout("hybrid", hierarchies, unified, ("hugetlb",))
    assert layout.controllers == {"cpu", "cpuacct", "memory", "hugetlb"}
    assert layout.mountpoint("cpuacct") == "/sys/fs/cgroup/cpu,cpuacct"
    assert layout.mountpoint("pids") is None
