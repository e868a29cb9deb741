"""import → run → logs → exec → stop → rm, through every command line."""

import re
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for

HEXADECIMAL = re.compile(r"[0-9a-f]{64}")


def test_import_prints_the_image_id_and_lists_it(client: Client, busybox_tar: Path) -> None:
    printed = client.ok("import", str(busybox_tar), "made-here:v1")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", printed)
    table = client.ok("images", "made-here").splitlines()
    assert table[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert table[1].split()[:2] == ["made-here", "v1"]
    assert table[1].split()[2] == printed[7:19]
    removed = client.ok("rmi", "made-here:v1")
    assert "Untagged: made-here:v1" in removed


def test_import_from_standard_input_with_changes(client: Client, busybox_tar: Path) -> None:
    client.ok(
        "import",
        "-c",
        "CMD echo from the image",
        "-c",
        "ENV COLOR=blue",
        "-",
        "changed",
        stdin=busybox_tar.read_bytes(),
    )
    assert client.ok("run", "--rm", "changed") == "from the image"
    assert client.ok("run", "--rm", "changed", "sh", "-c", "echo $COLOR") == "blue"
    client.ok("rmi", "changed")


def test_tag_and_inspect_an_image(client: Client) -> None:
    client.ok("tag", "busybox", "other:name")
    assert client.ok("inspect", "-f", "{{.Id}}", "other:name") == client.ok("inspect", "-f", "{{.Id}}", "busybox")
    assert "other:name" in client.ok("inspect", "-f", "{{.RepoTags}}", "busybox")
    client.ok("rmi", "other:name")


def test_output_and_status_of_the_command(client: Client) -> None:
    done = client("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_gives_128_and_its_number(client: Client) -> None:
    command = client.command("run", "--rm", "--name", "victim", "busybox", "sleep", "1000")
    running = subprocess.Popen(command, env=client.engine.environment(), stdin=subprocess.DEVNULL)
    wait_for(lambda: client.engine.ok("ps", "-q", "-f", "name=victim") != "")
    client.ok("kill", "-s", "KILL", "victim")
    assert running.wait(60) == 137


def test_command_not_found_is_127(client: Client) -> None:
    done = client("run", "--rm", "busybox", "no-such-command")
    assert done.returncode == 127
    assert 'exec: "no-such-command": executable file not found in $PATH' in done.stderr
    assert client("ps", "-aq").stdout == ""


def test_absolute_command_not_found_is_127(client: Client) -> None:
    done = client("run", "--rm", "busybox", "/no/such")
    assert done.returncode == 127
    assert "no such file or directory" in done.stderr


def test_command_not_executable_is_126(client: Client) -> None:
    done = client("run", "--rm", "busybox", "/etc/not-executable")
    assert done.returncode == 126
    assert "permission denied" in done.stderr


def test_a_directory_as_the_command_is_126(client: Client) -> None:
    done = client("run", "--rm", "busybox", "/etc")
    assert "is a directory" in done.stderr or "permission denied" in done.stderr
    assert done.returncode == 126


def test_no_command_is_125(client: Client) -> None:
    done = client("run", "--rm", "busybox")
    assert done.returncode == 125
    assert "no command specified" in done.stderr.lower()


def test_a_failed_start_leaves_the_container_created_without_rm(client: Client) -> None:
    assert client("run", "--name", "broken", "busybox", "no-such-command").returncode == 127
    assert client.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}") == "broken Created"
    assert client.ok("inspect", "-f", "{{.State.ExitCode}}", "broken") == "127"


def test_standard_input_reaches_the_container_and_its_end_too(client: Client) -> None:
    assert client.ok("run", "-i", "--rm", "busybox", "cat", stdin="one\ntwo\n") == "one\ntwo"


def test_a_megabyte_through_standard_input_and_output(client: Client) -> None:
    data = bytes(range(32, 127)) * 11000
    assert client("run", "-i", "--rm", "busybox", "cat", stdin=data).stdout.encode() == data


def test_background_life(client: Client) -> None:
    printed = client.ok("run", "-d", "--name", "web", "busybox", "sh", "-c", "echo started; exec sleep 1000")
    assert HEXADECIMAL.fullmatch(printed)
    assert client.ok("ps", "-q", "--no-trunc") == printed
    assert client.ok("ps", "--format", "{{.ID}} {{.Image}} {{.Names}}") == f"{printed[:12]} busybox web"
    assert client.ok("ps", "--format", "{{.Status}}").startswith("Up ")
    assert client.ok("inspect", "-f", "{{.State.Status}} {{.State.Running}}", "web") == "running true"
    assert client.ok("logs", "web") == "started"
    assert client.ok("exec", "web", "echo", "inside") == "inside"
    assert client("exec", "web", "sh", "-c", "exit 3").returncode == 3
    assert client.ok("stop", "-t", "1", "web") == "web"
    assert client.ok("ps", "-q") == ""
    assert client.ok("inspect", "-f", "{{.State.Status}}", "web") == "exited"
    assert client.ok("start", "web") == "web"
    assert client.ok("kill", "web") == "web"
    assert client.ok("wait", "web") == "137"
    assert client.ok("rm", "web") == "web"
    assert client.ok("ps", "-aq") == ""


def test_create_then_start_attached(client: Client) -> None:
    created = client.ok("create", "--name", "later", "busybox", "sh", "-c", "echo hello; exit 4")
    assert HEXADECIMAL.fullmatch(created)
    done = client("start", "-a", "later")
    assert (done.returncode, done.stdout) == (4, "hello\n")
    assert client.ok("inspect", "-f", "{{.State.ExitCode}}", "later") == "4"


def test_stop_sends_term_first_and_kill_after_the_grace(client: Client) -> None:
    client.ok(
        "run", "-d", "--name", "polite", "busybox", "sh", "-c",
        "trap 'exit 5' TERM; echo set; while :; do sleep 0.05; done",
    )  # fmt: skip
    wait_for(lambda: client.engine.ok("logs", "polite") == "set")
    client.ok("stop", "polite")
    assert client.ok("inspect", "-f", "{{.State.ExitCode}}", "polite") == "5"
    client.ok("run", "-d", "--name", "deaf", "busybox", "sh", "-c",
              "trap '' TERM; echo set; while :; do sleep 0.05; done")  # fmt: skip
    wait_for(lambda: client.engine.ok("logs", "deaf") == "set")
    start = time.monotonic()
    client.ok("stop", "-t", "1", "deaf")
    assert 0.9 <= time.monotonic() - start < 10  # not the ten seconds of no -t
    assert client.ok("inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"


def test_kill_with_a_chosen_signal(client: Client) -> None:
    client.ok("run", "-d", "--name", "listening", "busybox", "sh", "-c",
              "trap 'echo got usr1' USR1; echo ready; while :; do sleep 0.05; done")  # fmt: skip
    wait_for(lambda: "ready" in client.engine.cli("logs", "listening").stdout)
    client.ok("kill", "-s", "USR1", "listening")
    wait_for(lambda: "got usr1" in client.engine.cli("logs", "listening").stdout)


def test_logs_keep_streams_apart_and_follow(client: Client) -> None:
    client.ok("run", "-d", "--name", "talking", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 0.5; echo three")
    done = client("logs", "-f", "talking")
    assert done.returncode == 0
    assert done.stdout == "one\nthree\n"
    assert done.stderr == "two\n"
    stamped = client.ok("logs", "-t", "talking").splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z one", stamped)
    assert client("logs", "-n", "1", "talking").stdout == "three\n"


def test_wait_prints_the_status_of_several(client: Client) -> None:
    client.ok("run", "-d", "--name", "one", "busybox", "sh", "-c", "exit 1")
    client.ok("run", "-d", "--name", "two", "busybox", "sh", "-c", "sleep 0.3; exit 2")
    assert client.ok("wait", "one", "two").split() == ["1", "2"]


def test_a_running_container_is_not_removed_without_force(client: Client) -> None:
    client.ok("run", "-d", "--name", "busy", "busybox", "sleep", "1000")
    done = client("rm", "busy")
    assert done.returncode == 1
    assert "container is running" in done.stderr
    assert client.ok("rm", "-f", "busy") == "busy"


def test_an_image_in_use_is_not_removed(client: Client) -> None:
    client.ok("create", "--name", "user-of-it", "busybox", "true")
    done = client("rmi", "busybox")
    assert done.returncode == 1
    assert "conflict" in done.stderr.lower()


def test_attach_sees_what_follows_and_the_exit_status(client: Client) -> None:
    client.ok("run", "-d", "--name", "attached", "busybox", "sh", "-c", "sleep 1; echo late; exit 9")
    done = client("attach", "--no-stdin", "attached")
    assert (done.returncode, done.stdout) == (9, "late\n")


def test_short_ids_and_names_find_a_container(client: Client) -> None:
    identity = client.ok("create", "--name", "found", "busybox", "true")
    for reference in (identity, identity[:12], identity[:4], "found", "/found"):
        assert client.ok("inspect", "--type", "container", "-f", "{{.Id}}", reference) == identity


def test_rm_removes_the_container_when_the_command_ends(engine: Engine) -> None:
    engine.ok("run", "--rm", "busybox", "true")
    engine.ok("run", "-d", "--rm", "busybox", "true")
    wait_for(lambda: engine.ok("ps", "-aq") == "", hint="--rm with -d")


def test_fifty_starts_leave_nothing(engine: Engine) -> None:
    for number in range(50):
        assert engine.ok("run", "--rm", "--network", "none", "busybox", "echo", str(number)) == str(number)
    assert engine.ok("ps", "-aq") == ""


def test_ps_columns_and_selection(client: Client) -> None:
    client.ok("run", "-d", "--name", "up", "-l", "tier=web", "busybox", "sleep", "1000")
    client.ok("create", "--name", "down", "busybox", "true")
    header = client.ok("ps").splitlines()[0].split()
    assert header == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert client.ok("ps", "--format", "{{.Names}}") == "up"
    assert client.ok("ps", "-a", "--format", "{{.Names}}").split() == ["down", "up"]
    assert client.ok("ps", "-a", "-f", "status=created", "--format", "{{.Names}}") == "down"
    assert client.ok("ps", "-f", "label=tier=web", "--format", "{{.Names}}") == "up"
    assert client.ok("ps", "-f", "label=tier=db", "--format", "{{.Names}}") == ""
    assert client.ok("ps", "-l", "--format", "{{.Names}}") == "down"


def test_version_and_info(client: Client) -> None:
    assert client.ok("version", "--format", "{{.Server.APIVersion}}") == "1.51"
    assert client.ok("info", "--format", "{{.OSType}}") == "linux"
