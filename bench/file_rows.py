"""Rows about containers' files: ``cp`` both ways, ``export``, ``commit``."""

from collections.abc import Callable
from pathlib import Path

from bench.contenders import Contender, run
from bench.rows import Limit, Row, milliseconds

FILES = 200
_BYTES = 8192
_WRITE = f"mkdir /new && for n in $(seq {FILES}); do head -c {_BYTES} /dev/urandom > /new/$n; done"


def file_rows(big: str, directory: Path, *, quick: bool) -> list[Row]:
    """``big`` is in the registry; ``directory`` is for what is copied."""
    some, few = (2, 1) if quick else (9, 3)
    single, many = directory / "one-file", directory / "many-files"
    single.write_bytes(bytes(_BYTES))
    many.mkdir(exist_ok=True)
    for number in range(FILES):
        (many / str(number)).write_bytes(bytes(_BYTES))

    def box(one: Contender) -> None:
        run(one.pull(big))
        run(one.command("run", "-d", "--name", "files", "--network", "none", big, "sleep", "100000"))
        run(one.command("exec", "files", "sh", "-c", _WRITE))

    def copy(*words: str) -> Callable[[Contender], float]:
        return lambda one: milliseconds(one.command("cp", *words))

    def out(one: Contender) -> float:
        target = directory / f"out-{one.name}"
        elapsed = milliseconds(one.command("cp", "files:/new", str(target)))
        run(["rm", "-r", str(target)])
        return elapsed

    def export(one: Contender) -> float:
        target = directory / f"export-{one.name}"
        elapsed = milliseconds(one.command("export", "-o", str(target), "files"))
        target.unlink()
        return elapsed

    def commit(one: Contender) -> float:
        elapsed = milliseconds(one.command("commit", "files", "committed"))
        run(one.command("rmi", "committed"))
        return elapsed

    def remove(one: Contender) -> None:
        run(one.command("rm", "-f", "files"))

    def row(title: str, rounds: int, measure: Callable[[Contender], float], most: float) -> Row:
        return Row(title, "ms", rounds, measure, before=box, after=remove, limits=(Limit("docker", most),))

    return [
        row("`cp` of a file into a running container", some, copy(str(single), "files:/single"), 0.6),
        row(f"`cp` of a directory of {FILES} files into it", some, copy(str(many), "files:/many"), 0.6),
        row(f"`cp` of a directory of {FILES} files out of it", some, out, 0.6),
        row("`export` of a container of the big image", few, export, 1.0),
        row(f"`commit` of {FILES} new files on the big image", some, commit, 0.4),
    ]
