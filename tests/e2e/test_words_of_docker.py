"""What scripts read of lists and errors, where the official command line has it in its own way."""

import io
import json
import socket
import tarfile

import pytest
from tests.engines import Engine

pytestmark = pytest.mark.root


def test_an_image_for_another_platform_is_pulled(engine: Engine) -> None:
    """At an address where nobody listens: the attempt is what counts."""
    engine.ok("tag", "busybox", "127.0.0.1:1/box")
    done = engine.cli("run", "--rm", "--platform", "linux/arm64", "127.0.0.1:1/box", "true")
    assert done.returncode == 125
    assert "Unable to find image '127.0.0.1:1/box:latest' locally" in done.stderr
    assert "connection refused" in done.stderr
    engine.ok("rmi", "127.0.0.1:1/box")


def test_names_that_are_none(engine: Engine) -> None:
    """Without "Error response from daemon", since Docker's command line looks at them itself."""
    words = "invalid reference format: repository name (library/BAD) must be lowercase\n"
    done = engine.cli("run", "BAD", "true")
    program = done.stderr.partition(":")[0]
    assert done.stderr.partition("\n")[0] == f"{program}: {words[:-1]}"
    assert (done.returncode, "--help' for more information" in done.stderr) == (125, True)
    done = engine.cli("create", "BAD", "true")
    assert (done.returncode, done.stderr) == (1, words)


@pytest.mark.parametrize(
    "words",
    [
        ["images", "-q", ""],
        ["images", "-q", "--filter", ""],
        ["image", "prune", "-f", "--filter", ""],
        ["image", "inspect", ""],
        ["image", "inspect", "busybox", "", "-f", "{{.Os}}"],
        ["inspect", "-s", "-f", "{{.Os}}", "busybox"],
        ["tag", "busybox@sha256:abc", "x"],
        ["tag", "a b", "ALSO"],
        ["pull", "a" * 256],
        ["pull", "-q", "x@sha256:" + "a" * 65],
    ],
)
def test_as_the_official_command_line(engine: Engine, docker_cli: str, words: list[str]) -> None:
    ours, theirs = engine.cli(*words), engine.docker(*words, binary=docker_cli)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


def test_a_directory_below_a_file(engine: Engine) -> None:
    engine.ok("create", "--name", "box", "busybox", "true")
    try:
        assert engine.cli("cp", "/etc/hostname", "box:/bin/busybox/").stderr == "no such directory\n"
        assert "not a directory" in engine.cli("cp", "box:/bin/busybox/", "-").stderr
    finally:
        engine.ok("rm", "box")


def test_stats_name_what_was_asked_for(engine: Engine) -> None:
    identifier = engine.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    try:
        shown = json.loads(engine.ok("stats", "--no-stream", "--no-trunc", "--format", "json", "box"))
        assert (shown["Container"], shown["ID"], shown["Name"]) == ("box", identifier, "box")
        assert engine.ok("stats", "--no-stream", "--format", "{{.Container}}") == identifier[:12]
    finally:
        engine.ok("rm", "-f", "box")


def test_raw_lists_and_times(engine: Engine) -> None:
    lines = engine.ok("images", "--format", "raw", "busybox").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["repository", "tag", "image_id", "created_at", "virtual_size"]
    engine.ok("create", "--name", "box", "busybox", "true")
    try:
        lines = engine.ok("ps", "-a", "--format", "raw").splitlines()
        assert lines[4:9] == ["state: created", "status: Created", "names: box", "labels:", "ports:"]
        assert engine.ok("ps", "-aq", "--format", "raw").startswith("container_id: ")
    finally:
        engine.ok("rm", "box")
    assert engine.ok("network", "ls", "-q", "--format", "raw").startswith("network_id: ")
    created = engine.ok("network", "ls", "--filter", "name=bridge", "--format", "{{.CreatedAt}}")
    assert created.endswith(" UTC")
    engine.ok("volume", "create", "kept")
    assert engine.ok("volume", "ls", "--format", "raw") == "name: kept\ndriver: local"
    engine.ok("volume", "rm", "kept")


def test_a_quiet_build_answers_with_the_image_alone(engine: Engine) -> None:
    """Asked for as old clients do it, by one that closes its sending side."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        dockerfile = b"FROM busybox\nLABEL of=quiet\n"
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    body = packed.getvalue()
    head = f"POST /v1.41/build?q=1&t=silent HTTP/1.1\r\nHost: d\r\nContent-Length: {len(body)}\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(engine.socket)
        client.sendall(f"{head}Content-Type: application/x-tar\r\nConnection: close\r\n\r\n".encode() + body)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            lines = [line for line in answer if line.startswith(b"{")]
    identifier = engine.ok("image", "inspect", "-f", "{{.Id}}", "silent")
    engine.ok("rmi", "silent")
    assert [json.loads(line) for line in lines] == [{"stream": f"{identifier}\n"}]


@pytest.mark.parametrize(
    ("given", "told"),
    [("127.0.0.1", "127.0.0.1"), ("::ffff:127.0.0.2", "127.0.0.2"), ("0:0:0:0:0:0:0:1", "::1"), ("::2", "")],
)
def test_a_resolver_of_the_machines_own_is_warned_of(engine: Engine, given: str, told: str) -> None:
    done = engine.cli("create", "--name", "box", "--dns", given, "busybox", "true")
    try:
        expected = f"WARNING: Localhost DNS ({told}) may fail in containers.\n" if told else ""
        assert (done.returncode, done.stderr) == (0, expected)
    finally:
        engine.ok("rm", "box")


def test_a_mount_that_is_said_twice(engine: Engine) -> None:
    same = ("-v", "/etc:/there", "-v", "/etc:/there")
    assert engine.ok("run", "--rm", *same, "busybox", "ls", "/there/hostname") == "/there/hostname"
    other = engine.cli("run", "--rm", *same, "-v", "/usr:/there", "busybox", "true")
    assert (other.returncode, "Duplicate mount point: /there" in other.stderr) == (125, True)


def test_an_old_api_leaves_the_removal_to_the_client(engine: Engine) -> None:
    old = {"DOCKER_API_VERSION": "1.24"}
    done = engine.cli("run", "--rm", "--name", "box", "busybox", "sh", "-c", "echo hi; exit 3", env=old)
    assert (done.returncode, done.stdout) == (3, "hi\n")
    assert engine.ok("ps", "-aq", "--filter", "name=box") == ""
