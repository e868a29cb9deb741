"""Rows about images on their way: pull without a change, push, save, load, and a long list."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from bench.contenders import Contender, run
from bench.rows import Limit, Row, milliseconds, settle_disk

MANY = 1000
NEW_LAYER_BYTES = 128 << 20


def image_rows(big: str, directory: Path, *, quick: bool) -> list[Row]:
    """``big`` is in the registry; ``directory`` is for archives."""
    some, few = (1, 1) if quick else (7, 3)
    many = _many_images(directory / "many.tar")

    def archive(one: Contender) -> str:
        return str(directory / f"{one.name}.tar")

    def fetch(one: Contender) -> None:
        run(one.pull(big))

    def save(one: Contender) -> float:
        Path(archive(one)).unlink(missing_ok=True)
        return milliseconds(one.command("save", "-o", archive(one), big))

    def fetch_and_save(one: Contender) -> None:
        fetch(one)
        save(one)

    def load(one: Contender) -> float:
        return _load(one, archive(one))

    def load_dockers(one: Contender) -> float:
        return _load(one, str(directory / "docker.tar"))

    def load_ours(one: Contender) -> float:
        return _load(one, str(directory / "rundlet.tar"))

    def _load(one: Contender, path: str) -> float:
        run(one.command("rmi", big))
        settle_disk(one, Path(path))
        return milliseconds(one.command("load", "-i", path))

    def forget(one: Contender) -> None:
        run(one.command("rmi", big))
        Path(archive(one)).unlink()

    def load_many(one: Contender) -> None:
        run(one.command("load", "-i", str(many)))

    def forget_many(one: Contender) -> None:
        run(one.command("rmi", *(f"many:{number}" for number in range(MANY))))

    return [
        Row("`pull` that changes nothing", "ms", some, lambda one: milliseconds(one.pull(big)), before=fetch,
            limits=(Limit("docker", 0.5),)),
        Row("`push` of the big image to another name of the loopback registry", "ms", few, _push(big),
            before=fetch, limits=(Limit("docker", 0.5),)),
        Row("`push` of a new layer (128 MB, imported before)", "ms", few, _push_new(big, directory),
            limits=(Limit("docker", 0.5),)),
        Row("`save` of the big image", "ms", few, save, before=fetch, limits=(Limit("docker", 0.6),)),
        Row("`load` of the big image, as each saved it", "ms", few, load, before=fetch_and_save, after=forget,
            limits=(Limit("docker", 0.3),)),
        Row("`load` of the big image, as docker saved it (not compressed)", "ms", few, load_dockers,
            before=fetch_and_save, after=forget, limits=(Limit("docker", 0.3),)),
        Row("`load` of the big image, as rundlet saved it (compressed)", "ms", few, load_ours,
            before=fetch_and_save, after=forget, limits=(Limit("docker", 0.3),)),
        Row(f"`images` with {MANY:,} images", "ms", some, lambda one: milliseconds(one.command("images")),
            before=load_many, after=forget_many, at_most=100, without=("podman",)),
    ]  # fmt: skip


def _push(big: str) -> Callable[[Contender], float]:
    """To a repository of its own in each round: layers are mounted or sent, as the engine can."""
    rounds: dict[str, int] = {}

    def push(one: Contender) -> float:
        number = rounds[one.name] = rounds.get(one.name, 0) + 1
        name = f"{big.rpartition(':')[0]}-{one.name}-{number}:latest"
        run(one.command("tag", big, name))
        elapsed = milliseconds(one.push(name))
        run(one.command("rmi", name))
        return elapsed

    return push


def _push_new(big: str, directory: Path) -> Callable[[Contender], float]:
    """Of an image that no registry has seen: every byte is sent, by docker and podman compressed on the way."""
    rounds: dict[str, int] = {}
    path = directory / "new.tar"

    def push(one: Contender) -> float:
        number = rounds[one.name] = rounds.get(one.name, 0) + 1
        name = f"{big.rpartition('/')[0]}/new-{one.name}:{number}"
        _new_layer(path, name)
        run(one.command("import", str(path), name))
        elapsed = milliseconds(one.push(name))
        run(one.command("rmi", name))
        path.unlink()
        return elapsed

    return push


def _new_layer(path: Path, seed: str) -> None:
    """A tar of text-like data that compresses to about half and that no other seed gives."""
    words = b"".join(hashlib.sha256(f"{seed} {number}".encode()).hexdigest().encode() for number in range(1 << 14))
    with tarfile.open(path, "w") as archive:
        for number in range(NEW_LAYER_BYTES // len(words)):
            _add(archive, f"file-{number}", number.to_bytes(8, "big") + words[number:] + words[:number])


def _many_images(path: Path) -> Path:
    """An archive of tiny images, each another by its label, all of one layer."""
    layer = bytes(10240)
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    manifest = []
    with tarfile.open(path, "w") as archive:
        _add(archive, "layer.tar", layer)
        for number in range(MANY):
            config = {
                "architecture": "amd64",
                "os": "linux",
                "created": "2026-01-01T00:00:00Z",
                "config": {"Labels": {"number": str(number)}},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
                "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "bench"}],
            }
            data = json.dumps(config).encode()
            name = f"{hashlib.sha256(data).hexdigest()}.json"
            _add(archive, name, data)
            manifest.append({"Config": name, "RepoTags": [f"many:{number}"], "Layers": ["layer.tar"]})
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
