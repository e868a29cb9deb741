"""Rows about builds: small steps, the cache, many files, one large file, stages."""

import random
from collections.abc import Callable
from pathlib import Path

from bench.contenders import Contender, run
from bench.rows import IMAGE, Limit, Row, milliseconds

STEPS = 8
FILES = 10_000
NAME = "bench-built"


def build_rows(directory: Path, *, quick: bool) -> list[Row]:
    """``directory`` is for contexts."""
    some, few = (1, 1) if quick else (7, 3)
    steps = _context(directory / "steps", "".join(f"RUN echo {number} > /f{number}\n" for number in range(STEPS)))
    many = _context(directory / "many", "COPY . /files/\n")
    _fill(many)
    stages = directory / "stages"
    _stages(stages)
    return [
        Row(f"`build` of {STEPS} small RUN steps, without the cache", "ms", some, _build(steps, "--no-cache"),
            limits=(Limit("docker", 0.25), Limit("podman", 0.25))),
        Row("`build` of the same, all of it cached", "ms", some, _build(steps), before=_once(steps),
            limits=(Limit("docker", 1.0),)),
        Row(f"`build` with COPY of {FILES:,} small files", "ms", few, _build(many, "--no-cache"),
            limits=(Limit("docker", 0.5),)),
        Row("`build` of three stages, two of them independent and busy", "ms", few, _build(stages, "--no-cache"),
            limits=(Limit("docker", 0.75),)),
    ]  # fmt: skip


def _context(path: Path, instructions: str) -> Path:
    path.mkdir()
    (path / "Dockerfile").write_text(f"FROM {IMAGE}\n{instructions}")
    return path


def _stages(path: Path) -> None:
    busy = "RUN i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; echo $i > /done\n"
    path.mkdir()
    (path / "Dockerfile").write_text(
        f"FROM {IMAGE} AS a\n{busy}FROM {IMAGE} AS b\n{busy}"
        f"FROM {IMAGE}\nCOPY --from=a /done /a\nCOPY --from=b /done /b\n"
    )


def _fill(path: Path) -> None:
    source = random.Random(1)
    for number in range(FILES):
        file = path / f"d{number % 100}" / f"f{number}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(source.randbytes(source.randrange(100, 4000)))


def _command(one: Contender, context: Path, flags: tuple[str, ...]) -> list[str]:
    # Docker's own builder: the one that is part of the engine.
    before = ["env", "DOCKER_BUILDKIT=0"] if one.name == "docker" else []
    return [*before, *one.command("build", "-q", *flags, "-t", NAME, str(context))]


def _build(context: Path, *flags: str) -> Callable[[Contender], float]:
    return lambda one: milliseconds(_command(one, context, flags))


def _once(context: Path) -> Callable[[Contender], None]:
    def build(one: Contender) -> None:
        run(_command(one, context, ()))

    return build
