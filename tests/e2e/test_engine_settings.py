"""What an engine's settings say about all its containers, about its firewall and about its end."""

import contextlib
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import docker
from tests.e2e.test_networks_both_families import SERVER, fetch
from tests.engines import Engine, alive, wait_for

NewEngine = Callable[..., Engine]


def served(host: str, port: int) -> bool:
    return fetch(host, port) == "served"


def test_what_containers_have_that_ask_for_nothing(new_engine: NewEngine) -> None:
    flags = ("--default-shm-size", "8m", "--default-ulimit", "nofile=100:200", "--init", "--no-new-privileges")
    groups = ("--cgroup-parent", "/rundlet-rooms", "--exec-opt", "native.cgroupdriver=cgroupfs")
    engine = new_engine(*flags, "--default-ipc-mode", "shareable", "--label", "room=4", *groups)
    look = "df -m /dev/shm; ulimit -n; ulimit -Hn; cat /proc/1/comm; grep NoNewPrivs /proc/self/status"
    shown = engine.ok("run", "--rm", "busybox", "sh", "-c", look)
    assert " 8 " in shown and "\n100\n200\n" in shown and "NoNewPrivs:\t1" in shown
    assert "\nsh\n" not in shown  # the first process is ours
    own = ("--init=false", "--security-opt", "no-new-privileges=false", "--ulimit", "nofile=50", "--shm-size", "9m")
    asked = engine.ok("run", "--rm", *own, "busybox", "sh", "-c", look)
    assert " 9 " in asked and "\n50\n50\nsh\n" in asked and "NoNewPrivs:\t0" in asked
    engine.ok("create", "--name", "box", "busybox", "true")
    kept = json.loads(engine.ok("inspect", "box"))[0]["HostConfig"]
    assert (kept["IpcMode"], kept["CgroupParent"]) == ("shareable", "/rundlet-rooms")
    info = json.loads(engine.ok("info", "--format", "json"))
    assert info["Labels"] == ["room=4"] and "name=no-new-privileges" in info["SecurityOptions"]
    for group in (*Path("/sys/fs/cgroup").glob("rundlet-rooms"), *Path("/sys/fs/cgroup").glob("*/rundlet-rooms")):
        group.rmdir()  # the parent is whoever's named it, not the engine's


def test_an_engine_that_says_it_is_experimental(new_engine: NewEngine) -> None:
    for engine, said in ((new_engine("--experimental"), "true"), (new_engine(), "false")):
        assert engine.ok("version", "-f", "{{.Server.Experimental}}") == said
        assert engine.ok("info", "-f", "{{.ExperimentalBuild}}") == said
        with contextlib.closing(docker.DockerClient(base_url=engine.host)) as client:
            answer = client.api.get(f"{client.api.base_url}/_ping")
            assert answer.headers["Docker-Experimental"] == said


def test_the_cgroup_namespace_of_who_asks_for_none(new_engine: NewEngine) -> None:
    """On cgroup v1 Docker's default is the host's, which old clients get whatever is configured."""
    engine, configured = new_engine(), new_engine("--default-cgroupns-mode", "private")
    unified = engine.ok("info", "-f", "{{.CgroupVersion}}") == "2"
    namespace = ("busybox", "readlink", "/proc/self/ns/cgroup")
    hosts = os.readlink(f"/proc/{engine.listener()}/ns/cgroup")
    assert (engine.ok("run", "--rm", *namespace) == hosts) is not unified
    assert configured.ok("run", "--rm", *namespace) != hosts
    assert configured.ok("run", "--rm", "--cgroupns", "host", *namespace) == hosts
    client = docker.APIClient(base_url=configured.host, version="1.40", timeout=60)
    try:
        old = client.create_container("busybox", "true")["Id"]
    finally:
        client.close()
    kept = configured.ok("inspect", "-f", "{{.HostConfig.CgroupnsMode}}", old)
    assert kept == ("private" if unified else "host")


def test_a_firewall_that_is_not_filled(new_engine: NewEngine, port: int) -> None:
    """No table, no other way in than the proxy; the container still has its bridge."""
    engine = new_engine("--iptables=false", "--ip6tables=false")
    engine.ok("run", "-d", "--name", "one", "-p", f"{port}:80", *SERVER)
    for host in ("127.0.0.1", "::1"):
        wait_for(partial(served, host, port))
    table = engine.run_command(["nft", "list", "table", "inet", f"rundlet_{engine.layout.instance}"])
    assert "No such file" in table.stderr
    engine.wait_for_successor(engine.kill())
    wait_for(lambda: fetch("127.0.0.1", port) == "served")
    bridge = json.loads(engine.ok("network", "inspect", "bridge"))[0]["Options"]["com.docker.network.bridge.name"]
    with open(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet", encoding="ascii") as file:
        assert file.read().strip() == "0"  # nothing would keep the bridge from this host's own services
    engine.ok("rm", "-f", "one")
    assert fetch("127.0.0.1", port) == ""


def test_no_default_bridge(new_engine: NewEngine) -> None:
    engine = new_engine("--bridge", "none")
    assert engine.ok("network", "ls", "--format", "{{.Name}}").split() == ["host", "none"]
    for network in ((), ("--network", "bridge")):
        assert "eth0" not in engine.ok("run", "--rm", *network, "busybox", "ip", "link")
    engine.ok("network", "create", "own")
    assert "eth0" in engine.ok("run", "--rm", "--network", "own", "busybox", "ip", "link")
    engine.ok("network", "rm", "own")


def test_an_engine_that_takes_its_containers_along(new_engine: NewEngine) -> None:
    engine = new_engine("--live-restore=false")
    engine.ok("run", "-d", "--name", "plain", "--stop-timeout", "1", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "again", "--restart", "unless-stopped", "busybox", "top")
    engine.ok("run", "-d", "--name", "stopped", "--restart", "unless-stopped", "--stop-timeout", "0", "busybox", "top")
    engine.ok("stop", "stopped")
    pid = int(engine.field("plain", "{{.State.Pid}}"))
    engine.terminate()
    assert not alive(pid)
    engine.start()
    wait_for(lambda: engine.field("again", "{{.State.Status}}") == "running")
    assert engine.field("plain", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    assert engine.field("stopped", "{{.State.Status}}") == "exited"
    engine.ok("rm", "-f", "again")


def test_an_engine_that_takes_its_containers_along_and_is_killed(new_engine: NewEngine) -> None:
    """The next one ends what still runs, and starts it again where its policy says so."""
    engine = new_engine("--live-restore=false")
    trap = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    engine.ok("run", "-d", "--name", "plain", "busybox", "sh", "-c", trap)
    engine.ok("run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", trap)
    engine.ok("run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", trap)
    pids = [int(engine.field(name, "{{.State.Pid}}")) for name in ("plain", "again", "gone")]
    engine.wait_for_successor(engine.kill())
    assert not any(alive(pid) for pid in pids)
    assert engine.field("plain", "{{.State.Status}} {{.State.ExitCode}}") == "exited 7"
    assert engine.field("plain", "{{.NetworkSettings.SandboxID}}") == ""
    wait_for(lambda: engine.field("again", "{{.State.Status}}") == "running")
    wait_for(lambda: engine.ok("ps", "-a", "--filter", "name=gone", "-q") == "")
    engine.ok("rm", "-f", "again", "plain")


def test_arguments_of_another_runtime(new_engine: NewEngine, tmp_path: Path) -> None:
    """They come before the runtime's own; a program without a directory is looked for in the path."""
    said, program, settings = tmp_path / "said", tmp_path / "recorder", tmp_path / "daemon.json"
    program.write_text(f'#!/bin/sh\necho "$@" >> {said}\nexit 1\n')
    program.chmod(0o755)
    runtime = {"path": str(program), "runtimeArgs": ["--loud", "--very"]}
    settings.write_text(json.dumps({"runtimes": {"recorder": runtime}}))
    engine = new_engine("--config-file", str(settings))
    assert engine.cli("run", "--rm", "--runtime", "recorder", "busybox", "true").returncode != 0
    assert said.read_text().startswith("--loud --very --root ")
    assert json.loads(engine.ok("info", "--format", "json"))["Runtimes"]["recorder"] == runtime


def test_an_empty_file_says_nothing(new_engine: NewEngine) -> None:
    engine = new_engine("--config-file", "/dev/null")
    assert engine.ok("run", "--rm", "busybox", "echo", "said") == "said"


def test_links_where_containers_are_kept_apart(new_engine: NewEngine) -> None:
    """What the other one exposes and nothing else, for as long as there is the link, by its address too."""
    engine = new_engine("--icc=false")
    serve = "for p in 80 81; do httpd -p $p; done; echo served > /f; sleep 1000"
    engine.ok("run", "-d", "--name", "web", "--expose", "80", "-w", "/", "busybox", "sh", "-c", serve)
    address = engine.field("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}")
    engine.ok("run", "-d", "--name", "linked", "--link", "web:shop", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "other", "busybox", "sleep", "1000")

    def ask(container: str, host: str, number: int) -> str:
        asked = ("timeout", "2", "wget", "-q", "-O-", f"http://{host}:{number}/f")
        return engine.cli("exec", container, *asked).stdout.strip()

    wait_for(lambda: ask("linked", address, 80) == "served")
    assert f"{address}\tshop " in engine.ok("exec", "linked", "cat", "/etc/hosts")
    assert ask("linked", address, 81) == ask("other", address, 80) == ""
    engine.wait_for_successor(engine.kill())
    wait_for(lambda: ask("linked", address, 80) == "served")
    engine.ok("restart", "-t", "0", "web")
    address = engine.field("web", "{{.NetworkSettings.Networks.bridge.IPAddress}}")
    wait_for(lambda: ask("linked", address, 80) == "served")
    engine.ok("rm", "--link", "linked/shop")
    assert "shop" not in engine.ok("exec", "linked", "cat", "/etc/hosts")
    assert ask("linked", address, 80) == ""


def test_a_port_without_a_binding(new_engine: NewEngine) -> None:
    """``{"80/tcp": []}``, which clients send for any port of the host."""
    engine = new_engine()
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"PortBindings": {"80/tcp": []}}}
    options = ("-H", "Content-Type: application/json", "-d", json.dumps(body))
    path = "http://d/v1.47/containers/create?name=any"
    engine.run_command(["curl", "-sS", "--unix-socket", engine.socket, *options, path])
    engine.ok("start", "any")
    assert engine.ok("port", "any", "80/tcp").startswith("0.0.0.0:")


def test_proxies_and_what_clients_build_by(new_engine: NewEngine, tmp_path: Path) -> None:
    settings = tmp_path / "daemon.json"
    document = {"features": {"buildkit": True}, "max-concurrent-downloads": 1, "max-concurrent-uploads": 1}
    settings.write_text(json.dumps(document | {"max-download-attempts": 1}))
    engine = new_engine(
        "--config-file", str(settings), "--https-proxy", "http://me:secret@127.0.0.1:1", "--no-proxy", "a.example"
    )
    info = json.loads(engine.ok("info", "--format", "json"))
    assert (info["HttpsProxy"], info["NoProxy"]) == ("http://xxxxx:xxxxx@127.0.0.1:1", "a.example")
    refused = engine.cli("pull", "registry.example/a/b")
    assert refused.returncode == 1 and "127.0.0.1" in refused.stderr  # nobody is asked for the name
    assert "secret" not in refused.stderr + engine.log.read_text()
    ping = engine.run_command(["curl", "-sSI", "--unix-socket", engine.socket, "http://d/_ping"]).stdout
    assert "Builder-Version: 2" in ping
