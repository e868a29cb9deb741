"""Flags of networks, volumes, builds, searches and contexts whose effect no other test looks at."""

import json
import os
from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.e2e.conftest import Client
from tests.engines import Engine


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    return Context(engine, tmp_path / "context")


# ── networks ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_network_of_another_s_settings(client: Client) -> None:
    client.ok("network", "create", "--config-only", "--subnet", "10.77.0.0/24", "settings")
    client.ok("network", "create", "--config-from", "settings", "net")
    try:
        subnet = client.ok("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", "net")
        assert subnet == "10.77.0.0/24"
        refused = client("run", "--rm", "--network", "settings", "busybox", "true")
        assert refused.returncode == 125
    finally:
        client.ok("network", "rm", "--force", "net", "settings", "none-such") if not client.older else client.ok(
            "network", "rm", "net", "settings"
        )


def test_networks_of_ipv6_alone_and_with_a_driver_s_options(engine: Engine) -> None:
    engine.ok("network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd00:77::/64", "six")
    engine.ok("network", "create", "--ipam-driver", "default", "--ipam-opt", "a=b", "--scope", "local", "four")
    try:
        shown = engine.ok("run", "--rm", "--network", "six", "busybox", "ip", "-4", "addr", "show", "eth0")
        assert "inet " not in shown
        assert engine.ok("network", "inspect", "-f", "{{json .IPAM.Options}} {{.Scope}}", "four") == '{"a":"b"} local'
        engine.ok("run", "-d", "--name", "other", "busybox", "sleep", "1000")
        engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
        engine.ok("network", "connect", "--ip6", "fd00:77::7", "six", "box")
        assert "fd00:77::7" in engine.ok("exec", "box", "ip", "-6", "addr")
        engine.ok("network", "connect", "four", "other")
        engine.ok("network", "connect", "--link", "other:alias", "four", "box")
        assert " " in engine.ok("exec", "box", "nslookup", "-type=a", "alias")
        engine.ok("network", "disconnect", "--force", "four", "box")
        assert "four" not in engine.field("box", "{{json .NetworkSettings.Networks}}")
        verbose = engine.ok("network", "inspect", "--verbose", "six")
        assert json.loads(verbose)[0]["Name"] == "six"
        listed = engine.ok("network", "ls", "--no-trunc", "--filter", "name=six", "--format", "{{.ID}}")
        assert listed == json.loads(verbose)[0]["Id"]
    finally:
        engine.remove_containers()
        engine.ok("network", "rm", "six", "four")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--ingress",), "swarm networks (--ingress, --scope) is not supported by Rundlet"),
        (("--scope", "swarm"), "swarm networks (--ingress, --scope) is not supported by Rundlet"),
        (("--ipam-driver", "nope"), "IPAM driver nope is not supported by Rundlet"),
        (("--ipv4=false",), "IPv4 or IPv6 must be enabled"),
    ],
)
def test_refused_networks(engine: Engine, flags: tuple[str, ...], message: str) -> None:
    done = engine.cli("network", "create", *flags, "net")
    assert done.returncode == 1
    assert message in done.stderr


# ── volumes ──────────────────────────────────────────────────────────────────────────────────────────────────

CLUSTER = (
    "--availability=active --group=g --limit-bytes=7 --required-bytes=7 --scope=single --secret=a=b --sharing=none "
    "--topology-preferred=a=b --topology-required=a=b --type=block"
)


@pytest.mark.parametrize("flag", CLUSTER.split())
def test_cluster_volumes_are_refused(engine: Engine, flag: str) -> None:
    done = engine.cli("volume", "create", flag, "v")
    assert done.returncode == 1
    assert f"{flag.partition('=')[0]} (cluster volumes) is not supported by Rundlet" in done.stderr


def test_volumes(engine: Engine) -> None:
    assert 'plugin "nope" not found' in engine.cli("volume", "create", "--driver", "nope", "v").stderr
    assert engine.ok("volume", "create", "--driver", "local", "--label", "a=b", "--name", "vol") == "vol"
    # There is no swarm, so no volume is one of its cluster's.
    assert engine.ok("volume", "ls", "--cluster").split() == "VOLUME NAME GROUP DRIVER AVAILABILITY STATUS".split()
    both = engine.cli("volume", "create", "--name", "a", "b")
    assert "cannot specify a volume-name through both --name and as a positional arg" in both.stderr
    assert engine.cli("volume", "prune", "-f", "--all", "--filter", "all=1").returncode == 1
    refused = engine.cli("volume", "update", "--availability", "active", "vol")
    assert "cluster volumes" in refused.stderr
    assert engine.ok("volume", "ls", "--filter", "label=a=b", "--format", "{{.Driver}} {{.Name}}") == "local vol"
    engine.ok("volume", "rm", "--force", "vol", "none-such")
    assert engine.ok("volume", "ls", "--quiet") == ""


# ── builds ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_limits_of_a_build_s_steps(context: Context) -> None:
    files = "cpuset/cpuset.cpus cpuset/cpuset.mems cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpu/cpu.shares"
    memory = "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes"
    unified = "cpuset.cpus cpuset.mems cpu.max memory.max memory.swap.max"
    script = (
        "cat /etc/hosts; df -k /dev/shm | tail -1; ulimit -n; cd /sys/fs/cgroup; "
        f"if [ -d memory ]; then cat {files} {memory}; else cat {unified}; fi"
    )
    context.dockerfile(f"FROM busybox\nRUN ({script}) > /shown; cat /proc/self/mountinfo > /mounts\n")
    flags = ("--cpu-period", "80000", "--cpu-quota", "40000", "--cpu-shares", "512", "--cpuset-cpus", "0")
    more = ("--cpuset-mems", "0", "--memory", "64m", "--memory-swap", "96m", "--cgroup-parent", "/rundlet-b")
    rest = ("--add-host", "away:192.0.2.1", "--shm-size", "7m", "--ulimit", "nofile=77:88", "--load", "--force-rm")
    try:
        context.ok("-t", "t", *flags, *more, *rest)
        assert [path for path in Path("/sys/fs/cgroup").glob("**/rundlet-b") if path.is_dir()]
    finally:
        for pattern in ("*/rundlet-b", "rundlet-b"):
            for directory in Path("/sys/fs/cgroup").glob(pattern):
                directory.rmdir()
    lines = context.run("cat", "/shown").splitlines()
    assert "192.0.2.1\taway" in lines
    after = [line.split() for line in lines]
    size = next(index for index, words in enumerate(after) if "/dev/shm" in words)
    assert after[size][1] == "7168"
    shown = [" ".join(words) for words in after[size + 1 :]]
    if os.path.isdir("/sys/fs/cgroup/memory"):
        assert shown == ["77", "0", "0", "80000", "40000", "512", str(64 << 20), str(96 << 20)]
    else:
        assert shown == ["77", "0", "0", "40000 80000", str(64 << 20), str(32 << 20)]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--isolation=hyperv", "--isolation=hyperv is not supported by Rundlet"),
        ("--security-opt=nonsense=x", "nonsense"),
        ("--allow=device", "the entitlement device is not supported by Rundlet"),
        ("--attest=type=foo", "unknown attestation type foo"),
        ("--call=sing", "--call=sing is not supported by Rundlet"),
        ("--pull", "/v2/"),
    ],
)
def test_builds_that_are_refused(context: Context, flag: str, message: str) -> None:
    """``--pull`` asks the registry even for what is here; 127.0.0.1 has none."""
    context.engine.ok("tag", "busybox", "127.0.0.1:1/busybox")
    context.dockerfile("FROM 127.0.0.1:1/busybox\nRUN echo it\n")
    done = context.build(flag)
    context.engine.ok("rmi", "127.0.0.1:1/busybox")
    assert done.returncode == 1
    assert message in done.stderr


def test_an_image_s_parents_may_stay(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN echo one > /one\nRUN echo two > /two\n").ok("-t", "t")
    parent = context.engine.ok("inspect", "-f", "{{.Parent}}", "t")
    context.engine.ok("rmi", "--no-prune", "t")
    assert context.engine.ok("image", "inspect", "-f", "{{.Id}}", parent) == parent


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_sizes(client: Client) -> None:
    client.ok("run", "--name", "box", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /made")
    for words in (("inspect", "--size", "box"), ("container", "inspect", "--size", "box")):
        assert json.loads(client.ok(*words))[0]["SizeRw"] >= 5000
    assert "SizeRw" not in json.loads(client.ok("inspect", "box"))[0]
    last = client.ok("ps", "--all", "--last", "1", "--format", "{{.Names}}")
    assert last == "box"
    verbose = client.ok("system", "df", "--verbose")
    assert "Images space usage:" in verbose
    assert "box" in verbose
    types = client.ok("system", "df", "--format", "{{.Type}}").splitlines()
    assert types == ["Images", "Containers", "Local Volumes", "Build Cache"]


def test_all_containers_have_statistics(client: Client) -> None:
    client.ok("create", "--name", "box", "busybox", "true")
    template = ("--no-stream", "--format", "{{.ID}} {{.Name}} {{.PIDs}}")
    assert client.ok("stats", *template) == ""
    identifier = client.engine.field("box", "{{.Id}}")
    shown = client.ok("stats", "--all", "--no-trunc", *template)
    assert "box" in shown
    assert client.older or identifier in shown


def test_the_window_of_a_log(client: Client) -> None:
    client.ok("run", "--name", "box", "busybox", "sh", "-c", "echo one; sleep 1.1; echo two")
    first, second = (line.split()[0] for line in client.ok("logs", "--timestamps", "box").splitlines())
    assert client.ok("logs", "--since", second, "box") == "two"
    assert client.ok("logs", "--until", first, "box") in {"one", ""}
    assert client.ok("logs", "--since", first, "--until", second, "box").splitlines()[0] == "one"


def test_search_reads_its_filters_before_it_asks_anybody(client: Client) -> None:
    """Nobody listens there."""
    nobody = "127.0.0.1:1/tea"
    for name in ("stars", "is-official", "is-automated"):
        done = client("search", "--filter", f"{name}=odd", nobody)
        assert done.returncode == 1
        assert "invalid filter" in done.stderr
    assert client.ok("search", "--filter", "is-automated=true", "--format", "{{.Name}}", nobody) == ""


def test_a_limit_of_nonsense_for_a_search(client: Client) -> None:
    done = client("search", "--limit", "101", "x")
    assert done.returncode == 1
    assert "outside the range of [1, 100]" in done.stderr
