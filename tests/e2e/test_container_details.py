"""Details of a container's life that clients and scripts written for Docker build on."""

import re
import time
from collections.abc import Iterator

import docker
import docker.errors
import pytest
from tests.engines import Engine, wait_for

SLEEPS = (1000, 1001, 1002)


@pytest.fixture
def api(engine: Engine) -> Iterator[docker.APIClient]:
    client = docker.APIClient(base_url=engine.host, timeout=60)
    yield client
    client.close()


def test_events_until_a_time_are_those_of_the_past(engine: Engine) -> None:
    engine.ok("create", "--name", "past", "busybox", "true")
    until = f"{time.time():.6f}"
    told = engine.ok("events", "--until", until, "--filter", "container=past", "--format", "{{.Action}}")
    assert told == "create"


def test_a_network_shared_along_a_chain(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "first", "--hostname", "first.example.org", "busybox", "sleep", "1000")
    engine.ok("run", "-d", "--name", "second", "--network", "container:first", "busybox", "sleep", "1000")
    third = ("run", "--rm", "--network", "container:second", "busybox", "cat")
    hosts = engine.ok(*third, "/etc/hosts")
    assert hosts.endswith("\tfirst.example.org first")
    assert engine.ok(*third, "/etc/hostname") == "first.example.org"


def test_a_network_shared_with_oneself(engine: Engine) -> None:
    said = engine.cli("run", "--name", "me", "--network", "container:me", "busybox", "true")
    assert said.returncode == 125
    assert "cannot join own network namespace" in said.stderr
    said = engine.cli("run", "--network", "container", "busybox", "true")
    assert said.returncode == 125
    assert "invalid container format container:<name|id>" in said.stderr


def test_an_anonymous_volume_goes_with_its_last_container(engine: Engine) -> None:
    engine.ok("create", "--name", "giver", "-v", "given:/given", "-v", "/anonymous", "busybox", "true")
    engine.ok("create", "--name", "taker", "--volumes-from", "giver", "busybox", "true")
    anonymous = set(engine.ok("volume", "ls", "-q").split()) - {"given"}
    assert len(anonymous) == 1
    engine.ok("rm", "giver")
    assert anonymous < set(engine.ok("volume", "ls", "-q").split())
    engine.ok("rm", "-v", "taker")
    assert engine.ok("volume", "ls", "-q") == "given"


def test_a_free_choice_of_port_leaves_the_one_that_was_asked_for(engine: Engine) -> None:
    taken = engine.ok("run", "-d", "--name", "before", "-p", "80", "busybox", "sleep", "1000")
    last = int(engine.field(taken, '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'))
    wanted = f"{last + 1}:8080"
    engine.ok("run", "-d", "--name", "after", "-p", "80", "-p", wanted, "busybox", "sleep", "1000")
    assert engine.ok("port", "after", "8080").splitlines()[0] == f"0.0.0.0:{last + 1}"


def test_ps_finds_published_ports_by_the_hosts_number(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "published", "-p", "80", "busybox", "sleep", "1000")
    number = engine.ok("port", "published", "80").splitlines()[0].rpartition(":")[2]

    def found(*filters: str) -> str:
        return engine.ok("ps", "--format", "{{.Names}}", *(word for text in filters for word in ("-f", text)))

    assert found(f"publish={number}") == "published"
    assert found("publish=80") == ""
    assert found("expose=80") == "published"
    assert found("publish=80", "expose=80") == "published"


def test_an_exec_ends_with_the_run_it_was_made_for(engine: Engine, api: docker.APIClient) -> None:
    engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    exec_id = api.exec_create("box", ["true"])["Id"]
    engine.ok("restart", "-t", "0", "box")
    with pytest.raises(docker.errors.NotFound, match=f"No such exec instance: {exec_id}"):
        api.exec_start(exec_id, detach=True)
    exec_id = api.exec_create("box", ["true"])["Id"]
    assert api.exec_inspect(exec_id)["ContainerID"] == engine.field("box", "{{.Id}}")
    engine.ok("rm", "-f", "box")
    with pytest.raises(docker.errors.NotFound, match="No such exec instance"):
        api.exec_inspect(exec_id)


def test_update_of_swap_alone(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "box", "-m", "300M", "--memory-swap", "500M", "busybox", "sleep", "1000")
    refused = engine.cli("update", "--memory-swap", "200M", "box")
    assert refused.returncode == 1
    assert engine.field("box", "{{.HostConfig.MemorySwap}}") == str(500 << 20)
    engine.ok("update", "--memory-swap", "600M", "box")
    assert engine.field("box", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}") == f"{300 << 20} {600 << 20}"


def test_update_says_a_share_of_processors_one_way(engine: Engine) -> None:
    engine.ok("create", "--name", "cpus", "--cpus", "0.5", "busybox", "true")
    engine.ok("create", "--name", "quota", "--cpu-quota", "80000", "busybox", "true")
    for flags, container, message in (
        (("--cpu-quota", "80000"), "cpus", "CPU Quota cannot be updated as NanoCPUs has already been set"),
        (("--cpu-period", "90000"), "cpus", "CPU Period cannot be updated as NanoCPUs has already been set"),
        (("--cpus", "0.5"), "quota", "Nano CPUs cannot be updated as CPU Quota has already been set"),
    ):
        refused = f"Cannot update container {engine.field(container, '{{.Id}}')}: Conflicting options: {message}"
        assert refused in engine.cli("update", *flags, container).stderr
    engine.ok("update", "--cpus", "0.8", "cpus")


def test_nothing_is_mounted_inside_proc(engine: Engine) -> None:
    for flags in (("-v", "/proc/sys"), ("-v", "named:/proc/1/x"), ("--tmpfs", "/proc/acpi")):
        said = engine.cli("create", *flags, "busybox", "true")
        assert re.search(r'"/proc/\S+" cannot be mounted because it is inside /proc', said.stderr), flags
    assert engine.ok("run", "--rm", "-v", "/etc/hostname:/proc/uptime:ro", "busybox", "cat", "/proc/uptime")


@pytest.mark.parametrize(
    ("bindings", "wrong"),
    [
        ({"8080/tcp": [{"HostPort": "aa80"}]}, "aa80"),
        ({"19039;1230": [{}]}, "19039;1230"),
        ({"80/tcp": [{"HostPort": "80-70000"}]}, "80-70000"),
    ],
)
def test_a_port_that_is_no_number_is_refused_at_once(
    engine: Engine, api: docker.APIClient, bindings: dict[str, object], wrong: str
) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"PortBindings": bindings}}
    with pytest.raises(docker.errors.APIError, match=f'invalid port specification: "{wrong}"') as caught:
        api.create_container_from_config(body)
    assert caught.value.status_code == 400
    assert engine.ok("ps", "-aq") == ""


def test_what_is_built_is_tagged_with_its_labels(engine: Engine) -> None:
    since = f"{time.time():.6f}"
    engine.ok("build", "-t", "labelled", "-", stdin="FROM busybox\nLABEL kind=test\n")

    def told() -> str:
        window = ("--since", since, "--until", f"{time.time():.6f}")
        return engine.ok("events", *window, "--filter", "label=kind=test", "--format", "{{.Action}}")

    wait_for(lambda: "tag" in told().split())


def test_top_sorts_as_ps_does(engine: Engine, api: docker.APIClient) -> None:
    script = "sleep 1001 & sleep 1002 & exec sleep 1000"
    engine.ok("run", "-d", "--name", "busy", "busybox", "sh", "-c", script)
    wait_for(lambda: sorted(row[-1] for row in api.top("busy")["Processes"]) == [f"sleep {n}" for n in SLEEPS])

    def commands(sort: str) -> list[str]:
        return [row[-1] for row in api.top("busy", ps_args=f"aux --sort={sort}")["Processes"]]

    assert commands("args") == [f"sleep {n}" for n in SLEEPS]
    assert commands("comm,-args") == [f"sleep {n}" for n in reversed(SLEEPS)]
    assert commands("pid")[0] == "sleep 1000"
    with pytest.raises(docker.errors.APIError, match="unknown sort specifier: odd"):
        commands("odd")
    shown = engine.ok("top", "busy", "-x").splitlines()
    assert shown[0].split() == ["PID", "TTY", "STAT", "TIME", "COMMAND"]
    assert sorted(line.split(maxsplit=4)[-1] for line in shown[1:]) == [f"sleep {n}" for n in SLEEPS]
    assert engine.ok("top", "busy", "-eo", "pid,comm").split()[:2] == ["PID", "COMMAND"]


def test_an_empty_name_fits_all_events(engine: Engine) -> None:
    since = f"{time.time():.6f}"
    engine.ok("create", "--name", "any", "busybox", "true")
    window = ("--since", since, "--until", f"{time.time():.6f}")
    assert engine.ok("events", *window, "--filter", "container=", "--format", "{{.Action}}") == "create"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"Image": "", "Env": []}, "no command specified"),
        ({"HostConfig": {}}, "config cannot be empty in order to create a container"),
    ],
)
def test_a_container_of_nothing(engine: Engine, api: docker.APIClient, body: dict[str, object], message: str) -> None:
    with pytest.raises(docker.errors.APIError, match=message) as refused:
        api._result(api._post_json(api._url("/containers/create"), data=body), json=True)
    assert refused.value.status_code == 400
