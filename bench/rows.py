"""What is measured: each row asks every contender in turn, round by round, one figure each."""

import concurrent.futures
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import Contender, ContenderError, parent, private_bytes, run

IMAGE = "bench-debian"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``factor`` times what ``other`` needs."""

    other: str
    factor: float


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    unit: str
    rounds: int
    measure: Callable[[Contender], float]
    before: Callable[[Contender], None] | None = None
    after: Callable[[Contender], None] | None = None
    limits: tuple[Limit, ...] = ()
    at_most: float | None = None
    without: tuple[str, ...] = ()
    """Contenders that would need minutes for it."""


@dataclass(slots=True)
class Outcome:
    row: Row
    figures: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        figures = self.figures.get(name)
        return statistics.median(figures) if figures else None

    def ratio(self, other: str) -> float | None:
        """Rundlet's share of what ``other`` needs."""
        ours, theirs = self.median("rundlet"), self.median(other)
        return None if ours is None or not theirs else ours / theirs


def perform(row: Row, contenders: Sequence[Contender]) -> Outcome:
    """Interleaves the contenders, a round each; one that fails drops out with its reason."""
    outcome = Outcome(row)
    contenders = [one for one in contenders if one.name not in row.without]
    present = [one for one in contenders if _attempt(outcome, one, row.before)]
    for _ in range(row.rounds):
        for one in list(present):
            try:
                outcome.figures.setdefault(one.name, []).append(row.measure(one))
            except (ContenderError, subprocess.TimeoutExpired, OSError, ValueError) as exc:
                outcome.failures[one.name] = str(exc)
                outcome.figures.pop(one.name, None)
                present.remove(one)
    for one in contenders:
        _attempt(outcome, one, row.after)
    return outcome


def _attempt(outcome: Outcome, one: Contender, step: Callable[[Contender], None] | None) -> bool:
    try:
        if step is not None:
            step(one)
    except (ContenderError, subprocess.TimeoutExpired, OSError, ValueError) as exc:
        outcome.failures.setdefault(one.name, str(exc))
        return False
    return True


def milliseconds(command: Sequence[str]) -> float:
    """The whole process, from its start to its end. Raises: ContenderError when it fails."""
    start = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)
    elapsed = (time.perf_counter() - start) * 1000
    if done.returncode != 0:
        raise ContenderError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")
    return elapsed


def _run_true(one: Contender) -> float:
    return milliseconds(one.command("run", "--rm", IMAGE, "/bin/true"))


def _run_true_without_network(one: Contender) -> float:
    return milliseconds(one.command("run", "--rm", "--network", "none", IMAGE, "/bin/true"))


def _sleeper(one: Contender) -> None:
    run(one.command("run", "-d", "--name", "sleeper", "--network", "none", IMAGE, "sleep", "100000"))


def _remove_sleeper(one: Contender) -> None:
    run(one.command("rm", "-f", "sleeper"))


def _exec(one: Contender) -> float:
    return milliseconds(one.command("exec", "sleeper", "/bin/true"))


def _fifty(one: Contender) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as workers:
        starts = [one.command("run", "-d", "--name", f"one-of-{number}", "--network", "none", IMAGE, "sleep", "100000")
                  for number in range(50)]  # fmt: skip
        for _ in workers.map(run, starts):
            pass


def _remove_fifty(one: Contender) -> None:
    run(one.command("rm", "-f", *(f"one-of-{number}" for number in range(50))))


def _ps(one: Contender) -> float:
    return milliseconds(one.command("ps"))


def _twenty_starts(one: Contender) -> float:
    command = one.command("run", "--rm", IMAGE, "/bin/true")
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(4) as workers:
        for _ in workers.map(run, [command] * 20):
            pass
    return (time.perf_counter() - start) * 1000


def settle_disk(one: Contender, *warm: Path) -> None:
    """Ends what the removals of the round before still cost, the same for all.

    ext4 does not hand out an inode within a minute of its deletion as long as the inode table's blocks are in memory: a
    pull right after the removal of as many files would measure that search (three times as long, here). ``warm`` is
    read again, as are the contender's programs, so that nothing comes from a cold disk.
    """
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    run(one.command("version"))
    for path in warm:
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass


def _pull(image: str, blobs: Path) -> Callable[[Contender], float]:
    def pull(one: Contender) -> float:
        settle_disk(one, *blobs.rglob("data"))
        elapsed = milliseconds(one.pull(image))
        run(one.command("rmi", image))
        return elapsed

    return pull


def _shim_memory(one: Contender) -> float:
    """The process that stands above the container's first one: a shim, or conmon."""
    init = int(run(one.command("inspect", "-f", "{{.State.Pid}}", "sleeper")))
    return private_bytes(parent(init)) / 1e6


def _engine_memory(one: Contender) -> float:
    processes = one.engine_processes()
    if not processes:
        raise ContenderError("has no daemon")
    return sum(map(private_bytes, processes)) / 1e6


def rows(big_image: str, blobs: Path, *, quick: bool) -> list[Row]:
    """In the order of the table. ``blobs`` is the registry's storage; ``quick`` is for trying the benchmark itself."""
    many, some, few = (2, 1, 1) if quick else (15, 5, 3)
    return [
        Row("idle engine, private memory", "MB", 1, _engine_memory, at_most=60),
        Row("`run --rm IMG /bin/true`, default bridge", "ms", many, _run_true, before=_warm_up,
            limits=(Limit("docker", 0.25), Limit("podman", 0.33))),
        Row("`run --rm --network none IMG /bin/true`", "ms", many, _run_true_without_network,
            limits=(Limit("docker", 0.25),)),
        Row("a shim (docker: containerd-shim, podman: conmon), private memory", "MB", 1, _shim_memory,
            before=_sleeper, at_most=2),
        Row("`exec` of /bin/true", "ms", many, _exec, after=_remove_sleeper, limits=(Limit("docker", 0.6),)),
        Row("`ps` with 50 running containers", "ms", many, _ps, before=_fifty, after=_remove_fifty,
            limits=(Limit("docker", 1.5),)),
        Row("20 `run --rm` by 4 workers", "ms", some, _twenty_starts, limits=(Limit("docker", 0.25),)),
        Row("`pull` of the big image from a loopback registry", "ms", few, _pull(big_image, blobs),
            limits=(Limit("docker", 0.35),)),
    ]  # fmt: skip


def _warm_up(one: Contender) -> None:
    _run_true(one)
