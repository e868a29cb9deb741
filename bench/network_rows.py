"""Rows about networks: making them, joining them, published ports, names."""

import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import BinaryIO, cast

from bench.contenders import Contender, ContenderError, run
from bench.rows import IMAGE, Limit, Row, milliseconds

PORTS = {"rundlet": 18080, "docker": 18081, "podman": 18082}
TARGET = 80
BYTES = 2 << 30
PIECE = 1 << 20
CONNECTIONS = 300
MANY = 200
QUESTIONS = 2000
_LONG = ("sleep", "100000")

# What runs in containers: the image has perl and no other language.
_SINK = """
use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
bind(S, sockaddr_in(80, INADDR_ANY)) or die; listen(S, 512); $SIG{CHLD} = 'IGNORE';
# MSG_TRUNC: the kernel throws the data away, so that the path is measured and not perl.
while (accept(C, S)) { while (defined recv(C, $b, 1 << 20, 32) && length $b) {} syswrite(C, "done"); close(C) }
"""
_ASK = """
use Socket; use Time::HiRes "time"; my @names = split /,/, shift; my $rounds = shift; my @took; my %bad;
socket(S, PF_INET, SOCK_DGRAM, 0); connect(S, sockaddr_in(53, inet_aton("127.0.0.11"))) or die;
for my $n (1 .. $rounds) { for my $name (@names) {
  my $q = pack("nnnnnn", $n & 65535, 256, 1, 0, 0, 0) . pack("C/a*", $name) . pack("Cnn", 0, 1, 1);
  my $start = time; send(S, $q, 0); recv(S, my $a, 512, 0); push @took, time - $start;
  my ($id, $flags, $qd, $an) = unpack("nnnn", $a); $bad{$name} = 1 if $flags & 15 or !$an;
} }
die "not found: " . join(",", keys %bad) . "\\n" if %bad;
@took = sort { $a <=> $b } @took; printf "%.6f\\n", 1000 * $took[@took / 2];
"""


def network_rows(*, quick: bool) -> list[Row]:
    """In the order of the table."""
    some, few = (2, 1) if quick else (9, 3)
    only = ("docker", "podman")
    gone = _remove("sink")
    return [
        Row("`network create`", "ms", some, _create, limits=(Limit("docker", 0.3),)),
        Row("a network attached to a starting container (beyond `--network none`)", "ms", some, _attach, at_most=10),
        Row("2 GB to a port published on 127.0.0.1", "ms", some, _throughput("127.0.0.1"),
            before=_serve, after=gone, limits=(Limit("docker", 1 / 3),)),
        Row("the same, as a share of the time by the bare veth", "×", some, _beside_veth, before=_serve,
            after=gone, at_most=1.11, without=only),
        Row("2 GB written to a container's own address", "ms", some, _written, before=_serve, after=gone,
            limits=(Limit("docker", 1 / 3),)),
        Row("2 GB to a port published on ::1", "ms", some, _throughput("::1"), before=_serve, after=gone,
            limits=(Limit("docker", 1.0),)),
        Row("a connection to a port published on 127.0.0.1", "ms", some, _latency, before=_serve, after=gone,
            limits=(Limit("docker", 1.0),)),
        Row("a name looked up in a container, median", "ms", some, _look_up, before=_named, after=_unnamed,
            at_most=1.0, without=("podman",)),
        Row(f"each of {MANY} containers on one network found by its name, median", "ms", few, _look_up_many,
            before=_many, after=_remove_many, at_most=1.0, without=only),
    ]  # fmt: skip


def _create(one: Contender) -> float:
    elapsed = milliseconds(one.command("network", "create", "bench-made"))
    run(one.command("network", "rm", "bench-made"))
    return elapsed


def _attach(one: Contender) -> float:
    """The difference of medians of three: each is a whole command."""
    run(one.command("network", "create", "bench-joined"))
    try:
        true = (IMAGE, "/bin/true")
        pairs = [
            (
                milliseconds(one.command("run", "--rm", "--network", "bench-joined", *true)),
                milliseconds(one.command("run", "--rm", "--network", "none", *true)),
            )
            for _ in range(3)
        ]
    finally:
        run(one.command("network", "rm", "bench-joined"))
    return statistics.median(joined for joined, _ in pairs) - statistics.median(none for _, none in pairs)


def _serve(one: Contender) -> None:
    run(one.command("run", "-d", "--name", "sink", "-p", f"{PORTS[one.name]}:{TARGET}", IMAGE, "perl", "-e", _SINK))
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((_address(one), TARGET), timeout=1).close()
            return
        except OSError as exc:
            if time.monotonic() > deadline:
                raise ContenderError(f"the server in the container does not answer: {exc}") from exc
            time.sleep(0.05)


def _address(one: Contender) -> str:
    return run(one.command("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "sink"))


def _pour(address: str, port: int, *, written: bool = False) -> float:
    """Milliseconds until the other side has read everything.

    From a file without a copy, where the kernel sends a list of single pages; or ``written``, as most programs do.
    """
    start = time.perf_counter()
    with _zeros() as file, socket.create_connection((address, port), timeout=60) as connection:
        if written:
            piece = bytes(PIECE)
            for _ in range(BYTES // PIECE):
                connection.sendall(piece)
        else:
            connection.sendfile(file)
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(16) != b"done":
            raise ContenderError(f"the server behind {address}:{port} did not read to the end")
    return (time.perf_counter() - start) * 1000


def _zeros() -> BinaryIO:
    """A file of BYTES zeros, none of which takes room; sent without a copy."""
    file = tempfile.TemporaryFile(dir="/dev/shm")  # noqa: SIM115  the caller closes it
    file.truncate(BYTES)
    return cast(BinaryIO, file)


def _throughput(address: str) -> Callable[[Contender], float]:
    return lambda one: _pour(address, PORTS[one.name])


def _written(one: Contender) -> float:
    return _pour(_address(one), TARGET, written=True)


def _beside_veth(one: Contender) -> float:
    bare = _address(one)
    pairs = [(_pour("127.0.0.1", PORTS[one.name]), _pour(bare, TARGET)) for _ in range(3)]
    return statistics.median(port for port, _ in pairs) / statistics.median(veth for _, veth in pairs)


def _latency(one: Contender) -> float:
    took = []
    for _ in range(CONNECTIONS):
        start = time.perf_counter()
        with socket.create_connection(("127.0.0.1", PORTS[one.name]), timeout=10) as connection:
            connection.shutdown(socket.SHUT_WR)
            connection.recv(16)
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def _named(one: Contender) -> None:
    run(one.command("network", "create", "bench-names"))
    for name in ("asker", "target"):
        run(one.command("run", "-d", "--name", name, "--network", "bench-names", IMAGE, *_LONG))


def _unnamed(one: Contender) -> None:
    run(one.command("rm", "-f", "asker", "target"))
    run(one.command("network", "rm", "bench-names"))


def _look_up(one: Contender) -> float:
    return float(run(one.command("exec", "asker", "perl", "-e", _ASK, "target", str(QUESTIONS))))


def _many(one: Contender) -> None:
    run(one.command("network", "create", "bench-many"))
    for number in range(MANY):
        run(one.command("run", "-d", "--name", f"many-{number}", "--network", "bench-many", IMAGE, *_LONG))


def _remove_many(one: Contender) -> None:
    run(one.command("rm", "-f", *(f"many-{number}" for number in range(MANY))))
    run(one.command("network", "rm", "bench-many"))


def _look_up_many(one: Contender) -> float:
    """Fails when one of them is not found."""
    names = ",".join(f"many-{number}" for number in range(MANY))
    return float(run(one.command("exec", f"many-{MANY - 1}", "perl", "-e", _ASK, names, "5")))


def _remove(name: str) -> Callable[[Contender], None]:
    def remove(one: Contender) -> None:
        run(one.command("rm", "-f", name))

    return remove
