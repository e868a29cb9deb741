"""Log drivers and their options: what reaches a file or a server, what ``logs`` shows, and what is refused."""

import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import need
from tests.e2e.conftest import Client
from tests.engines import Engine, wait_for


def directory(engine: Engine, name: str) -> Path:
    return Path(engine.layout.container(engine.field(name, "{{.Id}}")))


def test_local_is_rotated_and_compressed_and_read_whole(client: Client) -> None:
    options = ("--log-driver", "local", "--log-opt", "max-size=20k", "--log-opt", "max-file=40")
    client.ok("run", "--name", "many", *options, "busybox", "seq", "5000")
    files = sorted(os.listdir(directory(client.engine, "many") / "local-logs"))
    assert "container.log" in files
    wait_for(
        lambda: all(
            name.endswith(".gz") or name == "container.log"
            for name in os.listdir(directory(client.engine, "many") / "local-logs")
        )
    )
    assert client.ok("logs", "many").split() == [str(number) for number in range(1, 5001)]
    assert client.ok("logs", "--tail", "1500", "many").split() == [str(number) for number in range(3501, 5001)]
    assert client.engine.field("many", "{{.LogPath}}") == ""


def test_attributes_and_tag(client: Client) -> None:
    flags = (
        *("--log-opt", "labels=one,two", "--log-opt", "labels-regex=^th", "--log-opt", "env=A"),
        *("--log-opt", "env-regex=^B", "--log-opt", "tag={{.Name}}/{{.ID}}/{{.ImageName}}"),
        *("--label", "one=1", "--label", "two=x y&=,", "--label", "three=3", "--label", "four=4"),
        *("-e", "A=a", "-e", "BB=b", "-e", "C=c"),
    )
    client.ok("run", "--name", "said", *flags, "busybox", "echo", "hello")
    short = client.engine.field("said", "{{.Id}}")[:12]
    expected = f"A=a,BB=b,one=1,tag=said%2F{short}%2Fbusybox,three=3,two=x+y%26%3D%2C hello"
    assert client.ok("logs", "--details", "said") == expected
    assert client.ok("logs", "said") == "hello"
    line = json.loads(Path(client.engine.field("said", "{{.LogPath}}")).read_text())
    assert line["attrs"]["three"] == "3"


def test_a_log_that_nobody_limited_is_limited(engine: Engine) -> None:
    script = "yes 123456789012345678901234567890123456789012345678901234567890 | head -c 160000000"
    engine.ok("run", "--name", "flood", "busybox", "sh", "-c", script)
    found = list(directory(engine, "flood").glob("*-json.log*"))
    assert len(found) == 5
    assert sum(path.stat().st_size for path in found) <= 5 * 20_100_000


def test_syslog_over_udp_and_dual_logging(client: Client) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        options = (
            *("--log-driver", "syslog", "--log-opt", f"syslog-address=udp://127.0.0.1:{server.getsockname()[1]}"),
            *("--log-opt", "syslog-facility=local3", "--log-opt", "tag=box", "--log-opt", "syslog-format=rfc5424micro"),
        )
        client.ok("run", "--name", "sent", *options, "busybox", "sh", "-c", "echo one; sleep 0.1; echo two >&2")
        first, second = server.recv(9000).decode(), server.recv(9000).decode()
    assert first.startswith("<158>1 ")
    assert first.split()[3] == "box"
    assert first.endswith(" box - one\n")
    assert second.startswith("<155>1 ")
    assert second.endswith(" box - two\n")
    assert client("logs", "sent").stdout == "one\n"


def test_syslog_without_a_cache_can_not_be_read(client: Client) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        address = f"syslog-address=udp://127.0.0.1:{server.getsockname()[1]}"
        options = ("--log-driver", "syslog", "--log-opt", address, "--log-opt", "cache-disabled=true")
        assert client.ok("run", "--name", "sent", *options, "busybox", "echo", "gone") == "gone"
    assert "configured logging driver does not support reading" in client("logs", "sent").stderr


def test_syslog_over_tls_survives_the_engine_and_a_restart(engine: Engine, scratch: Path) -> None:
    """Delivered while no engine runs, in several lives of the container, each message counted (RFC 5425)."""
    certificate, key = scratch / "cert", scratch / "key"
    subprocess.run(
        [
            *(need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        options = (
            *("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp+tls://localhost:{listener.getsockname()[1]}"),
            *("--log-opt", f"syslog-tls-ca-cert={certificate}", "--log-opt", "syslog-format=rfc5424"),
        )
        script = "while [ ! -e /go ]; do sleep 0.05; done; echo life; exit 1"
        engine.ok("run", "-d", "--name", "sent", "--restart", "on-failure:1", *options, "busybox", "sh", "-c", script)
        listener.accept()[0].close()  # the engine asks whether somebody is there
        engine.ok("exec", "sent", "touch", "/go")
        killed = engine.kill()
        with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
            connection.settimeout(60)
            received = b""
            while received.count(b"life") < 2:
                received += connection.recv(4096)
    length, _, rest = received.partition(b" ")
    assert rest[: int(length)].endswith(b"- life")
    engine.wait_for_successor(killed)


def loggers() -> set[int]:
    """All processes on this machine that deliver logs."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "rundlet-log\n":
                found.add(int(entry.name))
        except OSError:
            pass  # ended
    return found


def logger_of(engine: Engine) -> int:
    """The one of the engine's only container that has one; 0: there is none. By what its shim's child was told."""
    for pid in loggers():
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            line = Path(f"/proc/{parent}/cmdline").read_text()
        except OSError:
            continue
        if engine.layout.root in line:
            return pid
    return 0


def test_killed_logger_is_replaced_also_by_the_next_engine(engine: Engine) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        address = f"syslog-address=udp://127.0.0.1:{server.getsockname()[1]}"
        script = "while :; do echo $((n += 1)); sleep 0.1; done"
        options = ("--log-driver", "syslog", "--log-opt", address)
        engine.ok("run", "-d", "--name", "sent", *options, "busybox", "sh", "-c", script)
        assert server.recv(9000)
        first = logger_of(engine)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: logger_of(engine) not in (0, first))
        _drain(server)
        assert server.recv(9000)
        killed = engine.kill()
        os.kill(logger_of(engine), signal.SIGKILL)
        engine.wait_for_successor(killed)
        wait_for(lambda: logger_of(engine) != 0)
        _drain(server)
        assert server.recv(9000)
        engine.ok("rm", "-f", "sent")
        wait_for(lambda: logger_of(engine) == 0)


def _drain(server: socket.socket) -> None:
    server.setblocking(False)
    try:
        while server.recv(9000):
            pass
    except BlockingIOError:
        server.settimeout(60)


def test_non_blocking_never_waits(client: Client) -> None:
    options = ("--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m")
    client.ok("run", "--name", "quick", *options, "busybox", "seq", "2000")
    wait_for(lambda: client.ok("logs", "quick").split() == [str(number) for number in range(1, 2001)])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--log-driver", "nonsense"], 'error looking up logging plugin nonsense: plugin "nonsense" not found'),
        (["--log-driver", "gelf"], "log driver gelf is not supported by Rundlet"),
        (["--log-opt", "x=1"], "unknown log opt 'x' for json-file log driver"),
        (["--log-driver", "local", "--log-opt", "labels=a"], "unknown log opt 'labels' for log driver local"),
        (
            ["--log-driver", "journald", "--log-opt", "max-size=1m"],
            "unknown log opt 'max-size' for journald log driver",
        ),
        (["--log-driver", "syslog", "--log-opt", "x=1"], "unknown log opt 'x' for syslog log driver"),
        (["--log-opt", "mode=odd"], "logger: logging mode not supported: odd"),
        (["--log-opt", "max-buffer-size=1m"], "max-buffer-size option is only supported with 'mode=non-blocking'"),
        (
            ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=zz"],
            "error parsing option max-buffer-size: invalid size: 'zz'",
        ),
        (
            ["--log-driver", "syslog", "--log-opt", "syslog-address=http://x"],
            "syslog-address should be in form proto://address, got http://x",
        ),
        (
            ["--log-driver", "syslog", "--log-opt", "syslog-address=unix:///none"],
            "stat /none: no such file or directory",
        ),
        (["--log-driver", "syslog", "--log-opt", "syslog-facility=odd"], "invalid syslog facility"),
        (["--log-driver", "syslog", "--log-opt", "syslog-format=odd"], "Invalid syslog format"),
        (["--log-driver", "syslog", "--log-opt", "cache-disabled=odd"], "invalid value for option cache-disabled: odd"),
    ],
)
def test_refused_at_creation(engine: Engine, options: list[str], text: str) -> None:
    done = engine.cli("create", *options, "busybox", "true")
    assert done.returncode == 1
    assert text in done.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["max-file=0"], "max-file cannot be less than 1"),
        (["max-file=zz"], 'strconv.Atoi: parsing "zz": invalid syntax'),
        (["max-size=zz"], "invalid size: 'zz'"),
        (["max-size=0"], "max-size must be a positive number"),
        (["compress=zz"], 'strconv.ParseBool: parsing "zz": invalid syntax'),
        (
            ["compress=true", "max-file=1"],
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        (["labels-regex=("], "error parsing regexp: missing closing ): `(`"),
        (["tag={{.Foo"], "template: log-tag:1: unclosed action"),
        (["tag={{.Foo}}"], "can't evaluate field Foo in type *logger.Info"),
    ],
)
def test_refused_at_start(engine: Engine, options: list[str], text: str) -> None:
    flags = [word for option in options for word in ("--log-opt", option)]
    done = engine.cli("run", "--rm", *flags, "busybox", "true")
    assert done.returncode == 125
    assert "failed to initialize logging driver: " in done.stderr
    assert text in done.stderr


def test_the_engines_own_default(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--log-driver", "local", "--log-opt", "max-size=1m")
    assert engine.ok("info", "--format", "{{.LoggingDriver}}") == "local"
    engine.ok("create", "--name", "plain", "busybox", "true")
    assert engine.field("plain", "{{json .HostConfig.LogConfig}}") == '{"Type":"local","Config":{"max-size":"1m"}}'
    engine.ok("create", "--name", "other", "--log-driver", "json-file", "busybox", "true")
    assert engine.field("other", "{{json .HostConfig.LogConfig}}") == '{"Type":"json-file","Config":{}}'


def test_an_engine_with_a_wrong_default_does_not_start() -> None:
    engine = Engine(["--log-opt", "nonsense=1"])
    try:
        with pytest.raises(AssertionError, match="failed to set log opts: unknown log opt 'nonsense' for json-file"):
            engine.start()
    finally:
        engine.stop()


def test_compressed_json_file_is_gzip(engine: Engine) -> None:
    flags = ("--log-opt", "max-size=10k", "--log-opt", "max-file=3", "--log-opt", "compress=true")
    engine.ok("run", "--name", "packed", *flags, "busybox", "seq", "1000")
    first = Path(engine.field("packed", "{{.LogPath}}") + ".1.gz")
    wait_for(first.exists)
    assert b'"stream":"stdout"' in gzip.decompress(first.read_bytes())
