"""From figures to ``docs/benchmarks.md``."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.rows import Outcome

NAMES = ("rundlet", "docker", "podman")
LONG = 10.0  # milliseconds: what is shorter is shown with its hundredths
MARKS = {True: "holds", False: "**missed**", None: "not measured"}


def machine() -> str:
    """What the figures depend on, without anything that names the machine."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    groups = "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1 or hybrid"
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{os.cpu_count()} processors ({cpu}), {memory:.0f} GB of memory, {release}, kernel {kernel}, "
        f"control groups {groups}, Python {platform.python_version()}"
    )


def verdicts(outcome: Outcome) -> list[tuple[str, bool | None]]:
    """Each limit of the row in words, with whether it holds (None: not measured)."""
    row = outcome.row
    answers: list[tuple[str, bool | None]] = []
    for limit in row.limits:
        ratio = outcome.ratio(limit.other)
        text = f"{limit.factor:g} × {limit.other}"
        if ratio is not None:
            text += f" (is {ratio:.2f})"
        answers.append((text, None if ratio is None else ratio <= limit.factor))
    if row.at_most is not None:
        ours = outcome.median("rundlet")
        answers.append((f"{row.at_most:g} {row.unit}", None if ours is None else ours <= row.at_most))
    return answers


def _cell(outcome: Outcome, name: str) -> str:
    median = outcome.median(name)
    if median is None:
        return "—"
    return f"{median:,.0f}" if outcome.row.unit == "ms" and median >= LONG else f"{median:.2f}"


def markdown(outcomes: Sequence[Outcome], versions: dict[str, str], big_megabytes: float) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `./dev bench`: Rundlet, dockerd and podman side by side in one run, interleaved round by round,",
        "each figure the median of the rounds. Times are of the whole command-line process, with the engine up.",
        "",
        f"Machine: {machine()}.",
        "",
        f"Compared: {', '.join(dict.fromkeys(versions.values()))}.",
        "The small image is Debian 12 (minbase); the big one has one layer",
        f"of {big_megabytes:.0f} MB compressed.",
        "",
        "| | unit | rounds | rundlet | docker | podman | at most | |",
        "|---|---|---:|---:|---:|---:|---|---|",
    ]
    for outcome in outcomes:
        answers = verdicts(outcome)
        cells = [
            outcome.row.title,
            outcome.row.unit,
            str(outcome.row.rounds),
            *(_cell(outcome, name) for name in NAMES),
        ]
        cells += ["<br>".join(text for text, _ in answers), "<br>".join(MARKS[holds] for _, holds in answers)]
        lines.append("| " + " | ".join(cells) + " |")
    failed = [f"- {outcome.row.title}, {name}: {reason}" for outcome in outcomes
              for name, reason in outcome.failures.items() if reason != "has no daemon"]  # fmt: skip
    if failed:
        lines += ["", "Not measured:", "", *failed]
    return "\n".join(lines) + "\n"
