"""Rows about containers that live, and about many of them."""

import concurrent.futures
from collections.abc import Callable

from bench.contenders import Contender, run
from bench.rows import IMAGE, Limit, Row, milliseconds

LINES = 20_000
MANY = 500
FLOOD = 100_000_000  # bytes
_LONG = ("sleep", "100000")


def container_rows(*, quick: bool) -> list[Row]:
    """In the order of the table."""
    some, few = (2, 1) if quick else (7, 3)
    return [
        Row(f"`logs` of {LINES:,} lines", "ms", some, _logs, before=_write_lines, after=_remove("lines"),
            limits=(Limit("docker", 0.5),)),
        Row("100 MB of output, from `run -d` to the end of `wait`", "ms", few, _flood, limits=(Limit("docker", 1.0),)),
        Row("`kill` and `wait`", "ms", some, _kill_and_wait, limits=(Limit("docker", 0.5),)),
        Row("`stats --no-stream` of 50 containers", "ms", few, _stats, before=start_many(50), after=remove_all(50),
            limits=(Limit("docker", 0.5),)),
        Row("`run -d` with no other container alive", "ms", some, _one_more),
        Row(f"`ps` with {MANY} containers alive", "ms", some, _ps, before=start_many(MANY), at_most=150,
            without=("docker", "podman")),
        Row(f"`run -d` with {MANY} others alive (at most 1.3 × with none)", "ms", some, _one_more,
            after=remove_all(MANY), without=("docker", "podman")),
    ]  # fmt: skip


def _write_lines(one: Contender) -> None:
    run(one.command("run", "--name", "lines", "--network", "none", IMAGE, "seq", str(LINES)))


def _logs(one: Contender) -> float:
    return milliseconds(one.command("logs", "lines"))


def _flood(one: Contender) -> float:
    script = f"yes {'x' * 79} | head -c {FLOOD}"
    elapsed = milliseconds(one.command("run", "-d", "--name", "flood", "--network", "none", IMAGE, "sh", "-c", script))
    elapsed += milliseconds(one.command("wait", "flood"))
    run(one.command("rm", "flood"))
    return elapsed


def _kill_and_wait(one: Contender) -> float:
    run(one.command("run", "-d", "--name", "victim", "--network", "none", IMAGE, *_LONG))
    elapsed = milliseconds(one.command("kill", "victim")) + milliseconds(one.command("wait", "victim"))
    run(one.command("rm", "victim"))
    return elapsed


def _stats(one: Contender) -> float:
    return milliseconds(one.command("stats", "--no-stream"))


def _ps(one: Contender) -> float:
    return milliseconds(one.command("ps"))


def _one_more(one: Contender) -> float:
    elapsed = milliseconds(one.command("run", "-d", "--name", "more", "--network", "none", IMAGE, *_LONG))
    run(one.command("rm", "-f", "more"))
    return elapsed


def start_many(count: int) -> Callable[[Contender], None]:
    """What makes ``count`` containers that sleep."""

    def start(one: Contender) -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as workers:
            names = [f"of-many-{number}" for number in range(count)]
            starts = [one.command("run", "-d", "--name", name, "--network", "none", IMAGE, *_LONG) for name in names]
            for _ in workers.map(run, starts):
                pass

    return start


def _remove(name: str) -> Callable[[Contender], None]:
    def remove(one: Contender) -> None:
        run(one.command("rm", "-f", name))

    return remove


def remove_all(count: int) -> Callable[[Contender], None]:
    """What ends those of :func:`start_many`."""

    def remove(one: Contender) -> None:
        run(one.command("rm", "-f", *(f"of-many-{number}" for number in range(count))))

    return remove
