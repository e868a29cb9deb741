"""Wrong input gives one line that says what is wrong, Docker's exit status, and leaves nothing half-made."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for


def refused(client: Client, *arguments: str, status: int, says: str) -> None:
    done = client(*arguments)
    assert done.returncode == status, done
    assert says.lower() in done.stderr.lower(), done.stderr
    assert "Traceback" not in done.stderr
    assert client.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("UPPER", "must be lowercase"),
        ("a b", "invalid reference format"),
        ("name:", "invalid reference format"),
        ("name:bad/tag!", "invalid reference format"),
        ("name@sha256:12", "invalid reference format"),
        ("-", "invalid reference format"),
        ("http://host/name", "invalid reference format"),
    ],
)
def test_a_bad_reference(client: Client, reference: str, says: str) -> None:
    refused(client, "run", "--rm", reference, "true", status=125, says=says)
    done = client("pull", reference)
    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.parametrize(
    ("published", "says"),
    [
        ("99999:80", "99999"),
        ("a:b", "invalid"),
        ("1.2.3:80:80", "1.2.3"),
        ("80:80/xyz", "xyz"),
        ("9000-9003:80-81", "range"),
    ],
)
def test_a_bad_port(client: Client, published: str, says: str) -> None:
    refused(client, "run", "--rm", "-p", published, "busybox", "true", status=125, says=says)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--no-such-flag"], "unknown flag: --no-such-flag"),
        (["-Q"], "unknown shorthand flag: 'Q' in -Q"),
        (["--cpus", "many"], "cpus"),
        (["-v", "relative:also-relative"], "invalid"),
        (["-v", "/a:/b:nonsense"], "invalid"),
        (["-v", "/host:/"], "invalid"),
        (["--pull", "sometimes"], "invalid pull option"),
        (["--platform", "plan9/vax/1/2"], "platform"),
        (["--name", "no spaces"], "Invalid container name"),
        (["--env-file", "/no/such/env"], "no such file"),
        (["-w", "relative"], "working directory"),
        (["--runtime", "nonexistent"], "nonexistent"),
        (["--network", "container:nobody"], "nobody"),
        (["--memory", "4m"], "memory"),
    ],
)
def test_a_bad_flag_of_run(client: Client, flags: list[str], says: str) -> None:
    if flags[0] == "--pull" and client.older:
        pytest.skip("docker 20.10 takes any word for --pull")
    refused(client, "run", "--rm", *flags, "busybox", "true", status=125, says=says)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["-v", "/bin/sh"], "cannot mount volume over existing file, file exists "),
        (["-v", "new:/bin/sh"], "/bin/sh is not directory"),
        (["-v", "new:/bin/sh/x"], "/bin/sh/x: not a directory"),
        (["-w", "/bin/sh"], "Cannot mkdir: /bin/sh is not a directory"),
        (["-w", "/x" * 30_000], f"{'/x' * 127}/…: file name too long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_place_that_the_image_has_something_else_at(client: Client, flags: list[str], says: str) -> None:
    """Of ``create``, as Docker; nothing is left, no volume either."""
    refused(client, "create", *flags, "busybox", "true", status=1, says=says)
    assert client.ok("volume", "ls", "-q") == ""


def test_unknown_containers(client: Client) -> None:
    for arguments in (
        ["logs", "x"],
        ["stop", "x"],
        ["start", "x"],
        ["rm", "x"],
        ["kill", "x"],
        ["wait", "x"],
        ["attach", "x"],
    ):
        done = client(*arguments)
        assert done.returncode == 1, arguments
        assert "No such container: x" in done.stderr
    assert "No such container: x" in client("exec", "x", "true").stderr
    assert "no such object: x" in client("inspect", "x").stderr.lower()


def test_exec_in_a_stopped_container(client: Client) -> None:
    client.ok("create", "--name", "still", "busybox", "true")
    done = client("exec", "still", "true")
    assert done.returncode == 1
    assert "is not running" in done.stderr


def test_exec_of_a_missing_command(client: Client) -> None:
    client.ok("run", "-d", "--name", "here", "busybox", "sleep", "100")
    done = client("exec", "here", "no-such-command")
    assert done.returncode == 127
    assert "executable file not found in $PATH" in done.stderr + done.stdout
    assert client("exec", "here", "/etc/not-executable").returncode == 126


def test_unknown_commands_and_flags(client: Client) -> None:
    done = client("no-such-command")
    assert done.returncode != 0
    assert "no-such-command" in done.stderr
    done = client("ps", "--no-such-flag")
    assert done.returncode != 0
    assert "unknown flag: --no-such-flag" in done.stderr


def test_too_few_arguments(client: Client) -> None:
    for command, words in (
        ("rm", "requires at least 1 argument"),
        ("logs", "requires "),
        ("exec", "requires at least 2"),
    ):
        done = client(command)
        assert done.returncode == 1
        assert words in done.stderr


def test_a_misspelt_command_is_guessed(engine: Engine) -> None:
    done = engine.cli("pul")
    assert "Did you mean" in done.stderr
    assert "pull" in done.stderr


def test_what_is_not_supported_is_refused_by_name(engine: Engine) -> None:
    """Neither ignored nor taken for a typing error."""
    done = engine.cli("update", "--kernel-memory", "50m", "box")
    assert (done.returncode, done.stderr) == (1, "--kernel-memory is not supported by Rundlet\n")
    done = engine.cli("run", "--rm", "--kernel-memory", "50m", "busybox", "true")
    assert done.returncode == 125
    assert "--kernel-memory is not supported by Rundlet" in done.stderr
    assert "not supported by Rundlet" in done.stderr


def test_import_of_rubbish(client: Client) -> None:
    done = client("import", "-", "rubbish", stdin=b"this is no tar archive, whatever the caller thinks" * 100)
    assert done.returncode == 1
    assert client.ok("images", "-q", "rubbish") == ""


def test_import_of_a_truncated_tar(client: Client) -> None:
    from tools import images

    whole = images.busybox_tar().read_bytes()
    done = client("import", "-", "cut", stdin=whole[: len(whole) // 2])
    assert done.returncode == 1
    assert client.ok("images", "-q", "cut") == ""


def test_import_gets_no_digest(client: Client) -> None:
    for name in ("digested", "digested:tag"):
        done = client("import", "-", f"{name}@sha256:{'1' * 64}", stdin=bytes(10240))
        assert done.returncode == 1
        assert "cannot import digest reference" in done.stderr
    assert client.ok("images", "-q", "digested") == ""


def test_import_of_a_missing_file(client: Client) -> None:
    done = client("import", "/no/such/file.tar")
    assert done.returncode == 1
    assert "no such file" in done.stderr


def test_interrupt_during_run(client: Client) -> None:
    """Ctrl-C goes to the container, whose status comes back."""
    script = "trap 'exit 33' INT; echo ready; while :; do sleep 0.05; done"
    running = subprocess.Popen(
        client.command("run", "--rm", "--name", "interrupted", "busybox", "sh", "-c", script),
        env=client.engine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert running.returncode == 33
    wait_for(lambda: client.engine.ok("ps", "-aq") == "")


def test_interrupt_during_pull(new_engine: Callable[..., Engine], debian_tar: os.PathLike[str]) -> None:
    from tests.conftest import need
    from tools.registry import running_registry

    need("docker-registry")
    with running_registry() as registry:
        engine = new_engine(image=False)
        name = f"{registry.address}/big/one:1"
        engine.ok("import", str(debian_tar), name)
        engine.ok("push", "-q", name, timeout=120)
        engine.ok("rmi", name)
        # What `rmi` leaves in the content store is not of interest here.
        for delay in (0.05, 0.2, 0.6):
            pulling = engine.popen("pull", name)
            time.sleep(delay)
            pulling.send_signal(signal.SIGINT)
            pulling.communicate(timeout=60)
            if pulling.returncode == 0:
                engine.ok("rmi", name)
                continue
            assert pulling.returncode in {130, 1, -signal.SIGINT}  # the last: before Python was ready for it
            assert engine.ok("images", "-q") == ""
        engine.ok("pull", "-q", name, timeout=120)
        assert engine.ok("run", "--rm", name, "echo", "whole") == "whole"
