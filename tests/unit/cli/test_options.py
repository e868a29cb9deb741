"""Flags of run and create as the Engine API's body."""

import os
from pathlib import Path
from typing import Any

import pytest

from rundlet.cli.commands.container import create, run
from rundlet.cli.exit import RunError
from rundlet.cli.flags import FlagError, Parser
from rundlet.cli.options.container import create_body
from rundlet.cli.options.ipam import ipam_config
from rundlet.cli.options.mounts import parse_mount, volumes
from rundlet.cli.options.ports import PortError, parse_publish


def body(*words: str) -> dict[str, Any]:
    parser = Parser(run.FLAGS, interspersed=False)
    image, *command = parser.parse(words)
    return create_body(parser.values, image, command)


def test_a_plain_run() -> None:
    made = body("debian", "echo", "-n")
    assert made["Image"] == "debian"
    assert made["Cmd"] == ["echo", "-n"]
    assert (made["AttachStdin"], made["AttachStdout"], made["AttachStderr"], made["Tty"]) == (False, True, True, False)
    assert made["HostConfig"]["NetworkMode"] == "default"
    assert made["HostConfig"]["RestartPolicy"] == {"Name": "no"}


def test_streams() -> None:
    made = body("-it", "x")
    assert made["AttachStdin"] and made["OpenStdin"] and made["StdinOnce"] and made["Tty"]
    made = body("-dit", "x")
    assert made["OpenStdin"] and not made["AttachStdin"] and not made["StdinOnce"]
    made = body("-a", "STDOUT", "x")
    assert made["AttachStdout"] and not made["AttachStderr"]


def test_create_knows_the_flags_of_run() -> None:
    names = {flag[0] for flag in run.FLAGS}
    assert names - {flag[0] for flag in create.FLAGS} == {"detach", "detach-keys", "sig-proxy"}


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HERE", "value")
    monkeypatch.delenv("NOT_HERE", raising=False)
    file = tmp_path / "env"
    file.write_text("# comment\n\nF=1\nHERE\nNOT_HERE\n  G=a b\n")
    made = body("--env-file", str(file), "-e", "A=b", "-e", "HERE", "-e", "NOT_HERE", "x")
    assert made["Env"] == ["F=1", "HERE=value", "G=a b", "A=b", "HERE=value", "NOT_HERE"]
    file.write_text("a b=c\n")
    with pytest.raises(RunError, match="variable 'a b' contains whitespaces"):
        body("--env-file", str(file), "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [("80/tcp", "", "")]),
        ("8080:80", [("80/tcp", "", "8080")]),
        ("127.0.0.1:8080:80/udp", [("80/udp", "127.0.0.1", "8080")]),
        ("127.0.0.1::80", [("80/tcp", "127.0.0.1", "")]),
        ("[::1]:1:2", [("2/tcp", "::1", "1")]),
        ("8000-8001:90-91", [("90/tcp", "", "8000"), ("91/tcp", "", "8001")]),
        ("8000-9000:80", [("80/tcp", "", "8000-9000")]),
        ("published=1,target=2,protocol=sctp", [("2/sctp", "", "1")]),
    ],
)
def test_ports(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(port, bound["HostIp"], bound["HostPort"]) for port, bound in parse_publish(text)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "invalid containerPort: x"),
        ("80:x", "invalid containerPort: x"),
        ("99999:80", "invalid hostPort: 99999"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("[::1:80:80", "invalid IP address [::1: address [::1:: missing ']' in address"),
        ("[::1]x:80:80", "invalid IP address [::1]x: address [::1]x:: missing port in address"),
        ("=80", "invalid publish opts format (should be name=value but got '=80')"),
        ("80:80/foo", "invalid proto: foo"),
        ("80:", "no port specified: 80:<empty>"),
        ("1-2:1-3", "invalid ranges specified for container and host Ports: 1-3 and 1-2"),
    ],
)
def test_ports_that_are_none(text: str, message: str) -> None:
    with pytest.raises(PortError) as caught:
        parse_publish(text)
    assert str(caught.value) == message


def test_exposed_port_that_is_too_great() -> None:
    with pytest.raises(RunError, match=r"99999, error: .* value out of range"):
        body("--expose", "99999", "x")


def test_publishing() -> None:
    made = body("-p", "80:80", "-p", "81:80", "--expose", "5-6/udp", "x")
    assert made["ExposedPorts"] == {"80/tcp": {}, "5/udp": {}, "6/udp": {}}
    assert [one["HostPort"] for one in made["HostConfig"]["PortBindings"]["80/tcp"]] == ["80", "81"]


def test_volumes() -> None:
    binds, anonymous = volumes(["/a:/b:ro", "name:/c", "/d", "./e:/f"])
    assert binds == ["/a:/b:ro", "name:/c", f"{os.path.abspath('e')}:/f"]
    assert anonymous == {"/d": {}}
    # As of Windows: the engine says what is wrong with it.
    assert volumes(["a:b:c:d"])[0] == ["a:b:c:d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid empty volume spec"),
        ("/tmp:", "invalid spec: /tmp:: empty section between colons"),
        (":/x", "invalid spec: :/x: empty section between colons"),
        (":::", "invalid spec: :::: empty section between colons"),
        ("ab:/b:ro:x", "invalid spec: ab:/b:ro:x: too many colons"),
        ("a:/b:/c:ro:x", "invalid spec: a:/b:/c:ro:x: too many colons"),
    ],
)
def test_volumes_refused(text: str, message: str) -> None:
    with pytest.raises(RunError, match=f"^{message}$"):
        volumes([text])


def test_mounts() -> None:
    assert parse_mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rshared") == {
        "Type": "bind",
        "Source": "/a",
        "Target": "/b",
        "ReadOnly": True,
        "BindOptions": {"Propagation": "rshared"},
    }
    assert parse_mount('"type=tmpfs",target=/t,tmpfs-size=1m,tmpfs-mode=1777')["TmpfsOptions"] == {
        "SizeBytes": 1 << 20,
        "Mode": 0o1777,
    }
    for text, message in (
        ("type=bind", "target is required"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("", "EOF"),
        ('"type=bind', 'parse error on line 1, column 11: extraneous or missing " in quoted-field'),
        ("type=bind, source=/a,target=/b", "unexpected key ' source' in ' source=/a'"),
        ("type=tmpfs,target=/x,tmpfs-size=big", "invalid value for tmpfs-size: big"),
        ("type=tmpfs,target=/x,tmpfs-mode=-1", "invalid value for tmpfs-mode: -1"),
        ("type=tmpfs,target=/x,tmpfs-mode=0o7", "invalid value for tmpfs-mode: 0o7"),
        ("foo=bar,target=/x", "unexpected key 'foo' in 'foo=bar'"),
        ("type=bind,target=/x,tmpfs-size=1", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
    ):
        with pytest.raises(ValueError, match="^" + message.replace("*", r"\*")):
            parse_mount(text)


def test_networks() -> None:
    made = body("--network", "name=n,alias=a", "--ip", "1.2.3.4", "--network", "other", "x")
    assert made["HostConfig"]["NetworkMode"] == "n"
    assert made["NetworkingConfig"]["EndpointsConfig"] == {
        "n": {"Aliases": ["a"], "IPAMConfig": {"IPv4Address": "1.2.3.4"}},
        "other": {},
    }
    with pytest.raises(RunError, match="network-scoped aliases are only supported for user-defined networks"):
        body("--network", "host", "--network-alias", "x", "x")


def test_limits_and_rights() -> None:
    host = body(
        "-m", "64m", "--cpus", "1.5", "--ulimit", "nofile=1:2", "--cap-add", "net_admin", "--pids-limit", "9", "x"
    )
    config = host["HostConfig"]
    assert (config["Memory"], config["NanoCpus"], config["PidsLimit"]) == (64 << 20, 1_500_000_000, 9)
    assert config["Ulimits"] == [{"Name": "nofile", "Soft": 1, "Hard": 2}]
    assert config["CapAdd"] == ["CAP_NET_ADMIN"]


def test_health() -> None:
    made = body("--health-cmd", "true", "--health-interval", "1m", "--health-start-period", "2s", "x")
    assert made["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 60_000_000_000,
        "StartPeriod": 2_000_000_000,
    }
    assert body("--no-healthcheck", "x")["Healthcheck"] == {"Test": ["NONE"]}


def test_seccomp_profile_is_sent_as_content(tmp_path: Path) -> None:
    profile = tmp_path / "p.json"
    profile.write_text("{}")
    assert body("--security-opt", f"seccomp={profile}", "x")["HostConfig"]["SecurityOpt"] == ["seccomp={}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rm", "--restart", "always"], "conflicting options: cannot specify both --restart and --rm"),
        (["--restart", "on-failure:x"], "maximum retry count must be an integer"),
        (["--pid", "foo"], "--pid: invalid PID mode"),
        (["--mac-address", "foo"], "foo is not a valid mac address"),
        (["--health-cmd", "x", "--no-healthcheck"], "--no-healthcheck conflicts"),
        (["--memory-swappiness", "200"], "Valid memory swappiness range is 0-100"),
        (["--device", "a:b:c:d"], "bad format for path: a:b:c:d"),
        (["--device", "/dev/null:/dev/x:q"], "bad mode specified: q"),
        (["--device", "null:rw"], "null is not an absolute path"),
        (["--device", "/dev/null:"], " is not an absolute path"),
        (["--storage-opt", "a"], "invalid storage option"),
        (["--security-opt", "foo"], 'Invalid --security-opt: "foo"'),
        (["--network", "n", "--network", "bridge"], "cannot attach both user-defined and non-user-defined"),
        (["--network", "none", "--network", "none"], 'network "none" is specified multiple times'),
        (["--network", " "], "no name set for network"),
        (["--network", "name=n,mac-address=x"], "x is not a valid mac address"),
        (["--network", "name=n,ip=1.1.1.1", "--ip", "1.1.1.2"], "both --ip and per-network IPv4 address"),
        (["--network", "name=n,alias=a", "--network-alias", "b"], "both --network-alias and per-network alias"),
        (["--cpu-count", "1"], "--cpu-count is for Windows containers and not supported by Rundlet"),
    ],
)
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(RunError) as caught:
        body(*words, "x")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--network", "name=n,gw-priority=x"],
            'invalid argument "name=n,gw-priority=x" for "--network" flag: invalid gw-priority (x): invalid syntax',
        ),
        (
            ["--network", f"name=n,gw-priority={10**20}"],
            f'invalid argument "name=n,gw-priority={10**20}" for "--network" flag: '
            f"invalid gw-priority ({10**20}): value out of range",
        ),
        (["-e", "=x"], 'invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x'),
        (["--add-host", "a:b"], 'invalid argument "a:b" for "--add-host" flag: invalid IP address in add-host: "b"'),
        (["--ulimit", "foo=1"], 'invalid argument "foo=1" for "--ulimit" flag: invalid ulimit type: foo'),
        (["--sysctl", "foo"], 'invalid argument "foo" for "--sysctl" flag: sysctl \'foo\' is not allowed'),
        (["-a", "x"], 'invalid argument "x" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'),
    ],
)
def test_flags_are_checked_while_they_are_read(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        body(*words, "x")
    assert caught.value.message == message


def test_ipam() -> None:
    assert ipam_config(["10.0.0.0/8"], ["10.1.0.0/16"], ["10.0.0.1"], {"a": "10.0.0.5"}) == [
        {
            "Subnet": "10.0.0.0/8",
            "IPRange": "10.1.0.0/16",
            "Gateway": "10.0.0.1",
            "AuxiliaryAddresses": {"a": "10.0.0.5"},
        }
    ]
    with pytest.raises(ValueError, match="no matching subnet for gateway"):
        ipam_config(["10.0.0.0/24"], [], ["10.1.0.1"], {})
    with pytest.raises(ValueError, match="every ip-range or gateway must have a corresponding subnet"):
        ipam_config([], [], ["10.1.0.1"], {})
