"""``./dev bench [--quick] [--only rundlet,docker,podman] [--groups core,…] [--rows TEXT] [--output FILE]``"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tools import images
from tools.images import ROOT, UnavailableError
from tools.registry import Registry, running_registry

from bench import isolation, report, rootless_rows
from bench.api_rows import api_rows
from bench.build_rows import build_rows
from bench.container_rows import container_rows
from bench.contenders import Contender, ContenderError, Docker, Podman, Rundlet, installed, run
from bench.engine_rows import engine_rows
from bench.file_rows import file_rows
from bench.image_rows import image_rows
from bench.network_rows import network_rows
from bench.rows import IMAGE, Outcome, Row, perform, rows
from bench.trust_rows import trust_rows

ENVIRONMENT = ROOT / ".cache" / "bench-venv"
ROOTLESS = "rootless"
GROUPS = ("core", "containers", "files", "networks", "images", "builds", "api", ROOTLESS)
BIG_PACKAGES = ("cmake", "g++", "git", "perl", "python3")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./dev bench", description="Rundlet beside dockerd and podman.")
    parser.add_argument("--quick", action="store_true", help="one or two rounds: tries the benchmark, measures nothing")
    parser.add_argument("--only", default="rundlet,docker,podman", help="engines, separated by commas")
    parser.add_argument("--groups", default=",".join(GROUPS), help="of rows, separated by commas")
    parser.add_argument("--rows", default="", metavar="TEXT", help="only rows with this in their title; writes nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args(arguments)


def install_rundlet() -> None:
    """As a user would have it: a wheel in a virtual environment, not the source tree (start-up is what is measured)."""
    python = ENVIRONMENT / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([*pip, str(ROOT)], check=True)
    else:
        subprocess.run([*pip, "--force-reinstall", "--no-deps", str(ROOT)], check=True)


def prepare(names: Sequence[str], groups: Sequence[str]) -> None:
    """What needs the network or time, before the namespaces are entered."""
    images.debian_tar()
    images.debian_tar("debian-big", BIG_PACKAGES)
    if "rundlet" in names:
        install_rundlet()
    if ROOTLESS in groups:
        rootless_rows.install()


def contenders(names: Sequence[str], directory: Path) -> list[Contender]:
    makers: dict[str, tuple[str, Callable[[], Contender]]] = {
        "rundlet": (sys.executable, lambda: Rundlet(directory, ENVIRONMENT)),
        "docker": ("dockerd", lambda: Docker(directory)),
        "podman": ("podman", lambda: Podman(directory)),
    }
    chosen: list[Contender] = []
    for name in names:
        program, make = makers[name]
        if installed(program):
            chosen.append(make())
        else:
            print(f"bench: {program} is not installed; {name} is left out")
    return chosen


def load_images(contestants: Sequence[Contender], registry: Registry) -> tuple[str, float]:
    """Imports the small image everywhere, and puts the big one into the registry once, gzipped by docker or podman.

    Returns its name and the compressed size of its layer in MB.
    """
    big = f"{registry.address}/bench/big:latest"
    for one in contestants:
        run(one.command("import", str(images.debian_tar()), IMAGE))
    pusher = next((one for one in contestants if one.name == "docker"), contestants[-1])
    run(pusher.command("import", str(images.debian_tar("debian-big", BIG_PACKAGES)), big), timeout=900)
    run(pusher.push(big), timeout=900)
    run(pusher.command("rmi", big))
    sizes = [path.stat().st_size for path in registry.storage.rglob("data")]
    return big, max(sizes) / 1e6


def measure(options: argparse.Namespace, names: Sequence[str]) -> tuple[list[Outcome], dict[str, str], float]:
    """Raises: ContenderError, UnavailableError."""
    chosen = options.groups.split(",")
    found: tuple[list[Outcome], dict[str, str], float] = ([], {}, 0.0)
    if any(group != ROOTLESS for group in chosen):
        found = _measure_engines(options, names)
    if ROOTLESS in chosen:
        with rootless_rows.contenders() as contestants:
            found[0].extend(_perform(rootless_rows.rootless_rows(quick=options.quick), contestants, options.rows))
            found[1].update({f"{one.name} ({ROOTLESS})": one.version() for one in contestants})
    return found


def _measure_engines(options: argparse.Namespace, names: Sequence[str]) -> tuple[list[Outcome], dict[str, str], float]:
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rundlet-bench-", dir=ROOT / ".cache")))
        registry = stack.enter_context(running_registry())
        contestants = contenders(names, directory)
        for one in contestants:
            one.start()
            stack.callback(one.stop)
        versions = {one.name: one.version() for one in contestants}
        big, megabytes = load_images(contestants, registry)
        quick = options.quick
        groups: dict[str, Callable[[], Iterable[Row]]] = {
            "core": lambda: rows(big, registry.storage, quick=quick),
            "containers": lambda: container_rows(quick=quick),
            "files": lambda: file_rows(big, directory, quick=quick),
            "networks": lambda: network_rows(quick=quick),
            "images": lambda: image_rows(big, directory, quick=quick),
            "trust": lambda: trust_rows(directory, ENVIRONMENT, quick=quick),
            "engine": lambda: engine_rows(big, directory, ENVIRONMENT, quick=quick),
            "builds": lambda: build_rows(directory, quick=quick),
            "api": lambda: api_rows(quick=quick),
        }
        outcomes = []
        for group in options.groups.split(","):
            if group != ROOTLESS:
                outcomes += _perform(groups[group](), contestants, options.rows)
        return outcomes, versions, megabytes


def _perform(found: Iterable[Row], contestants: Sequence[Contender], wanted: str) -> list[Outcome]:
    outcomes = []
    for row in found:
        if wanted in row.title:
            outcomes.append(perform(row, contestants))
            print(line(outcomes[-1]), flush=True)
    return outcomes


def line(outcome: Outcome) -> str:
    medians = {name: outcome.median(name) for name in (*report.NAMES, rootless_rows.ROOTS)}
    figures = "  ".join(f"{name} {median:,.2f}" for name, median in medians.items() if median is not None)
    limits = "; ".join(f"at most {text}: {report.MARKS[holds]}" for text, holds in report.verdicts(outcome))
    return f"{outcome.row.title} [{outcome.row.unit}]: {figures}\n    {limits}"


def main() -> int:
    options = parse(sys.argv[1:])
    names = [name for name in options.only.split(",") if name]
    if os.geteuid() != 0:
        print("bench: needs root: sudo ./dev bench", file=sys.stderr)
        return 1
    try:
        if not isolation.inside():
            prepare(names, options.groups.split(","))
            return isolation.enter(sys.argv[1:])
        isolation.settle_in()
        outcomes, versions, megabytes = measure(options, names)
    except (UnavailableError, ContenderError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    if options.rows:
        return 0
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(report.markdown(outcomes, versions, megabytes))
    missed = [text for outcome in outcomes for text, holds in report.verdicts(outcome) if holds is False]
    print(f"bench: wrote {options.output.name}; {len(missed)} limits missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
