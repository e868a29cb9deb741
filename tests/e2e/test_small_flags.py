"""Flags about how a command line shows, sends and asks."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import need
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for
from tools.own_registry import OwnRegistry, own_registry


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path_factory.mktemp("own") / "root") as running:
        yield running


def test_streams_that_are_attached(client: Client) -> None:
    done = client("run", "--rm", "--attach", "stderr", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("", "err\n")


def test_input_of_a_start(client: Client) -> None:
    client.ok("create", "--name", "box", "--interactive", "busybox", "cat")
    assert client.ok("start", "--attach", "--interactive", "box", stdin="through\n") == "through"


def test_signals_that_are_not_passed_on(engine: Engine) -> None:
    process = engine.popen("run", "--name", "box", "--sig-proxy=false", "busybox", "sleep", "1000")
    try:
        wait_for(lambda: engine.cli("inspect", "-f", "{{.State.Running}}", "box").stdout == "true\n", 30)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) != 0
        assert engine.field("box", "{{.State.Running}}") == "true"
    finally:
        process.kill()
        process.communicate()


def test_weights_of_one_device(engine: Engine) -> None:
    done = engine.cli("create", "--name", "box", "--blkio-weight-device", "/dev/null:100", "busybox", "true")
    assert done.returncode == 0
    kept = "/dev/null" in engine.field("box", "{{json .HostConfig.BlkioWeightDevice}}")
    assert kept != ("Your kernel does not support Block I/O weight_device" in done.stderr)


def test_environment_of_an_exec(client: Client, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("ONE=1\n")
    client.ok("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    shown = client.ok(
        "exec", "--env-file", str(tmp_path / "env"), "--env", "TWO=2", "box", "sh", "-c", "echo $ONE $TWO"
    )
    assert shown == "1 2"


def test_a_quiet_copy(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    engine.ok("create", "--name", "box", "busybox", "true")
    loud = engine.cli("cp", str(tmp_path / "file"), "box:/one")
    quiet = engine.cli("cp", "--quiet", str(tmp_path / "file"), "box:/two")
    assert (loud.returncode, quiet.returncode, quiet.stdout, quiet.stderr) == (0, 0, "", "")
    assert engine.ok("cp", "box:/two", "-", stdin="").count("text") == 1


def test_history_for_people_and_for_programs(client: Client, busybox_tar: Path) -> None:
    name = "small/history"
    client.ok("import", "--message", "by hand", "--change", "ENV A=b", str(busybox_tar), name)
    template = ("--format", "{{.Size}} {{.CreatedAt}} {{.Comment}}")
    people = client.ok("history", "--human=true", *template, name)
    programs = client.ok("history", "--human=false", *template, name)
    assert people.endswith("by hand")
    assert people.split()[0].endswith("MB")
    assert programs.split()[0].isdigit()
    layers = client.engine.ok("image", "layers", "--no-trunc", name)
    assert any(len(word.removeprefix("sha256:")) == 64 for word in layers.split())
    client.engine.ok("rmi", name)


def test_all_tags_and_digests(client: Client, own: OwnRegistry) -> None:
    name = f"{own.address}/{'official' if client.official else 'own'}{'-old' if client.older else ''}"
    for tag in ("one", "two"):
        client.ok("tag", "busybox", f"{name}:{tag}")
    shown = client.ok("push", "--all-tags", name)
    assert "one: digest: sha256:" in shown
    assert "two: digest: sha256:" in shown
    listed = client.ok("images", "--digests", "--filter", f"reference={name}", "--format", "{{.Tag}} {{.Digest}}")
    assert {line.split()[0] for line in listed.splitlines()} == {"one", "two"}
    assert all(line.split()[1].startswith("sha256:") for line in listed.splitlines())
    client.ok("rmi", f"{name}:one", f"{name}:two")


def test_a_login_by_flags(tmp_path: Path, engine: Engine) -> None:
    users = tmp_path / "htpasswd"
    bcrypt = pytest.importorskip("bcrypt")
    users.write_text("ann:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode() + "\n")
    with own_registry(tmp_path / "root", "--htpasswd", str(users)) as closed:
        assert engine.cli("login", "--username", "ann", "--password", "wrong", closed.address).returncode == 1
        done = engine.cli("login", "--username", "ann", "--password", "secret", closed.address)
        assert "Login Succeeded" in done.stdout
        assert "Using --password via the CLI is insecure" in done.stderr
        engine.ok("logout", closed.address)


def test_where_the_engine_is(engine: Engine, tmp_path: Path) -> None:
    """The flags before a command, each against what the environment says."""
    nowhere = {"DOCKER_HOST": "unix:///none.sock"}
    assert engine.cli("version", env=nowhere).returncode == 1
    assert engine.cli("--host", engine.host, "version", env=nowhere).returncode == 0
    config = ("--config", str(tmp_path))
    assert engine.cli(*config, "context", "create", "this", "--docker", f"host={engine.host}").returncode == 0
    assert "this" in engine.cli(*config, "context", "ls", "--quiet").stdout
    assert "this" not in engine.cli("context", "ls", "--quiet").stdout
    assert engine.cli(*config, "--context", "this", "version", env={"DOCKER_HOST": ""}).returncode == 0
    for words, shown in ((("--debug",), "true"), (("--log-level", "error"), "false")):
        assert f"Debug Mode: {shown}" in engine.ok(*words, "info").partition("Server:")[0]
    wrong = engine.cli("--log-level", "loud", "version")
    assert (wrong.returncode, wrong.stderr) == (1, "Unable to parse logging level: loud\n")


def test_a_group_may_use_the_socket(new_engine: Callable[..., Engine]) -> None:
    need("getent")
    engine = new_engine("--group", "daemon", "--pidfile", "/tmp/rundlet-small-flags.pid", image=False)
    gid = int(engine.run_command(["getent", "group", "daemon"]).stdout.split(":")[2])
    found = Path(engine.socket).stat()
    assert (found.st_gid, found.st_mode & 0o777) == (gid, 0o660)
