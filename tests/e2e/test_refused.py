"""What Docker refuses about containers is refused here, with its words and exit codes."""

import pytest
from tests.e2e.conftest import Client


@pytest.fixture
def two(client: Client) -> Client:
    """``running`` runs, ``created`` was never started."""
    client.ok("run", "-d", "--name", "running", "--network", "none", "busybox", "sleep", "1000")
    client.ok("create", "--name", "created", "--network", "none", "busybox", "true")
    return client


def said(client: Client, *arguments: str) -> tuple[int, str]:
    done = client(*arguments)
    return done.returncode, done.stdout + done.stderr


COMMANDS = (
    ("rm running", 1, "container is running: stop the container before removing or force remove"),
    ("rm running", 1, 'cannot remove container "running": '),
    ("pause created", 1, "is not running"),
    ("ps -f status=odd", 1, "invalid value for state (odd): must be one of created, running, paused, restarting"),
    ("ps -f health=odd", 1, "'health=odd': invalid value for health (odd): must be one of none, starting, healthy"),
    ("ps -f exited=odd", 1, "invalid filter 'exited=odd': strconv.Atoi: parsing"),
    ("unpause running", 1, "is not paused"),
    ("exec created true", 1, "is not running"),
    ("exec running /missing", 127, "no such file or directory"),
    ("exec -w /missing running true", 127, 'cwd ("/missing") '),
    ("exec -u nobody-here running true", 126, "unable to find user nobody-here"),
    ("kill created", 1, "cannot kill container: created: container "),
    ("kill missing", 1, "cannot kill container: missing: No such container: missing"),
    ("kill -s FOO running", 1, "cannot kill container: running: invalid signal: FOO"),
    ("kill -s 99 running", 1, "cannot kill container: running: the linux daemon does not support signal 99"),
    ("exec -w tmp running pwd", 126, "exec failed: Cwd must be an absolute path"),
    ("tag busybox sha256:abcdef", 1, "refusing to create an ambiguous tag using digest algorithm as name"),
    ("cp - created:/missing", 1, 'destination "created:/missing" must be a directory'),
    ("rename running created", 1, 'name: Conflict. The container name "/created" is already in use by container'),
    ("rename running a/b", 1, "Error when allocating new name: Invalid container name (a/b), only"),
    ("pull scratch", 1, "'scratch' is a reserved name"),
    ("volume create -d nope other", 1, 'create other: error looking up volume plugin nope: plugin "nope" not found'),
    ("network create -d nope other", 1, 'plugin "nope" not found'),
    ("network create -d overlay other", 1, "This node is not a swarm manager"),
    ("rename missing other", 1, "No such container: missing"),
    ("update --restart foo running", 1, "invalid restart policy"),
    ("update -m 1m running", 1, "Minimum memory limit allowed is 6MB"),
    ("top created", 1, "is not running"),
    ("port running 80", 1, "No public port '80"),
    ("attach created", 1, "You cannot attach to a stopped container, start it first"),
    ("cp running:/missing .", 1, "/missing"),
    ("cp running:/a created:/b", 1, "copying between containers is not supported"),
    ("wait missing", 1, "No such container: missing"),
    ("diff missing", 1, "No such container: missing"),
    ("start -a created running", 1, "you cannot start and attach multiple containers at once"),
)

RUNS = (
    ("--name running busybox true", 125, "is already in use by container"),
    ("--rm --restart always busybox true", 125, " --rm"),
    ("-m 1m busybox true", 125, "Minimum memory limit allowed is 6MB"),
    ("-v name:relative busybox true", 125, "invalid mount path: 'relative' mount path must be absolute"),
    ("-v /one:/x:sw busybox true", 125, "invalid mode: sw"),
    ("-v /one:/x:ro,rw busybox true", 125, "invalid mode: ro,rw"),
    ("-v /one:ro busybox true", 125, "invalid volume specification: '/one:ro'"),
    ("-v /etc/passwd/x:/x busybox true", 125, "error while creating mount source path '/etc/passwd/x'"),
    ("--tmpfs relative busybox true", 125, "invalid mount path: 'relative' mount path must be absolute"),
    ("--tmpfs /x:foo busybox true", 125, 'invalid tmpfs option ["foo"]'),
    ("--mount type=npipe,src=/a,dst=/b busybox true", 125, 'invalid mount config for type "npipe": mount type unknown'),
    ("-v /:/ busybox true", 125, "invalid specification: destination can't be '/'"),
    ("-v /one:/x -v /two:/x busybox true", 125, "Duplicate mount point: /x"),
    ("--mount type=bind,src=/missing,dst=/x busybox true", 125, "bind source path does not exist: /missing"),
    ("--mount type=bind,src=/etc,dst=/x --mount type=tmpfs,dst=/x busybox true", 125, "Duplicate mount point: /x"),
    ("--network missing busybox true", 125, "failed to set up container networking: network missing not found"),
    ("--network host --ip 1.2.3.4 busybox true", 125, "IP address is supported on user defined networks only"),
    ("--network host --mac-address 92:d0:c6:0a:29:33 busybox true", 125, "mac-address and the network mode"),
    ("--network none --mac-address 92:d0:c6:0a:29:33 busybox true", 125, "mac-address and the network mode"),
    ("--network container:created busybox true", 125, "of a non running container"),
    ("--pid container:created busybox true", 125, "is not running"),
    ("--cap-add FOO busybox true", 125, "FOO"),
    ("--stop-signal FOO busybox true", 125, "invalid signal: FOO"),
    ("--oom-score-adj 2000 busybox true", 125, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ("--volumes-from missing busybox true", 125, "No such container: missing"),
    ("--restart foo busybox true", 125, "invalid restart policy"),
    ("--restart always:3 busybox true", 125, "maximum retry count"),
    ("busybox missing-program", 127, "executable file not found in $PATH"),
    ("busybox /etc", 126, "permission denied"),
    ("-w relative busybox true", 125, "it needs to be an absolute path"),
    ("--runtime missing busybox true", 125, "missing"),
)


BY_THE_COMMAND_LINE = (
    ("rm -f missing", 0, "No such container: missing"),
    ("network rm -f missing", 0, ""),
    ("stop -s FOO running", 1, "cannot stop container: running: invalid signal: FOO"),
    ("update --restart on-failure:x running", 1, "invalid restart policy format: maximum retry count must be an"),
    ("run --link a:b:c busybox true", 125, "bad format for links: a:b:c"),
    ("run --dns nowhere busybox true", 125, "IP address is not correctly formatted: nowhere"),
    ("run --dns-search -x. busybox true", 125, "-x. is not a valid domain"),
    ("run --device-cgroup-rule foo busybox true", 125, "invalid device cgroup format 'foo'"),
    ("run --security-opt seccomp=/etc/hostname busybox true", 125, "compacting json for seccomp profile (/etc/hostna"),
    ("run --cidfile /missing/x busybox true", 127, "failed to create the container ID file"),
)
"""Before, or after, the engine is asked: older clients have other words."""


def test_what_the_command_line_says(two: Client) -> None:
    if two.older:
        pytest.skip("docker 20.10 has other words")
    for text, code, message in BY_THE_COMMAND_LINE:
        found, output = said(two, *text.split())
        assert message in output, (text, output)
        assert found == code, (text, found, output)


def test_commands(two: Client) -> None:
    """One container pair for all: none of these changes anything."""
    for text, code, message in COMMANDS:
        found, output = said(two, *text.split())
        assert message in output, (text, output)
        assert found == code or (code == 0 and found) or (two.older and found), (text, found, output)
    assert two.ok("ps", "-a", "--format", "{{.Names}} {{.State}}").split("\n") == ["created created", "running running"]


def test_runs(two: Client) -> None:
    for text, code, message in RUNS:
        found, output = said(two, "run", *text.split())
        assert message in output, (text, output)
        assert found == code, (text, found, output)


def test_a_paused_container(two: Client) -> None:
    two.ok("pause", "running")
    for text, message in (
        ("pause running", "is already paused"),
        ("rm running", 'cannot remove container "running": container is paused and must be unpaused first'),
        ("exec running true", "is paused, unpause the container before exec"),
        ("start running", "cannot start a paused container, try unpause instead"),
        ("attach running", "You cannot attach to a paused container, unpause it first"),
    ):
        found, output = said(two, *text.split())
        assert message in output, (text, output)
        assert found
    two.ok("rm", "-f", "running")
