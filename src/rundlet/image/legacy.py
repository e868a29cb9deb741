"""Archives of Docker before 1.10: ``repositories`` and one directory for each layer, named by a v1 ID.

A v1 image is a chain of layers with a JSON each; the last one's JSON becomes the config.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from rundlet.image.archive import ArchiveError
from rundlet.image.unarchive import Parts
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest

_DROPPED = ("id", "parent", "parent_id", "layer_id", "Size", "throwaway", "checksum")
DEPTH_LIMIT = 127
Read: TypeAlias = Callable[[Digest], bytes]
"""Gives a document of the archive, by the digest of its blob."""


class _Container(msgspec.Struct, frozen=True):
    cmd: list[str] | str | None = msgspec.field(name="Cmd", default=None)


class _Step(msgspec.Struct, frozen=True):
    """What is read of a layer's JSON."""

    parent: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    container_config: _Container | None = None


class LegacyImage(msgspec.Struct, frozen=True):
    """A config made of v1 JSON, the layers bottom first, and the names."""

    config: bytes
    layers: tuple[Descriptor, ...]
    names: tuple[str, ...]


def legacy_images(parts: Parts, repositories: bytes, read: Read) -> list[LegacyImage]:
    """Every image that ``repositories`` names. Raises ArchiveError."""
    try:
        named = msgspec.json.decode(repositories, type=dict[str, dict[str, str]])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise ArchiveError(f"invalid repositories file: {exc}") from exc
    names: dict[str, list[str]] = {}
    for name, tags in named.items():
        for tag, image in tags.items():
            names.setdefault(image, []).append(f"{name}:{tag}")
    return [_image(parts, image, tuple(found), read) for image, found in names.items()]


def _image(parts: Parts, top: str, names: tuple[str, ...], read: Read) -> LegacyImage:
    steps: list[_Step] = []
    layers: list[Descriptor] = []
    whole: dict[str, Any] = {}
    current: str | None = top
    while current:
        if len(steps) >= DEPTH_LIMIT:
            raise ArchiveError("invalid archive: an image has more layers than any can have")
        document, step = _step(parts, f"{current}/json", read)
        layer = parts.find(f"{current}/layer.tar")
        if layer is None:
            raise ArchiveError(f"invalid archive: {current}/layer.tar is missing")
        whole = whole or document
        steps.insert(0, step)
        layers.insert(0, layer)
        current = step.parent
    return LegacyImage(_config(whole, steps, [layer.digest for layer in layers]), tuple(layers), names)


def _step(parts: Parts, name: str, read: Read) -> tuple[dict[str, Any], _Step]:
    """A layer's JSON: whole, as it goes into the config, and what is read of it. Raises ArchiveError."""
    part = parts.find(name)
    if part is None:
        raise ArchiveError(f"invalid archive: {name} is missing")
    data = read(part.digest)
    try:
        return msgspec.json.decode(data, type=dict[str, Any]), msgspec.json.decode(data, type=_Step)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise ArchiveError(f"invalid archive: {name}: {exc}") from exc


def _config(top: dict[str, Any], steps: Sequence[_Step], diff_ids: list[Digest]) -> bytes:
    document = {key: value for key, value in top.items() if key not in _DROPPED}
    document["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
    document["history"] = [_history(step) for step in steps]
    return msgspec.json.encode(document)


def _history(step: _Step) -> dict[str, str]:
    command = step.container_config.cmd if step.container_config is not None else None
    row = {
        "created": step.created,
        "author": step.author,
        "created_by": command if isinstance(command, str) else " ".join(command or ()),
        "comment": step.comment,
    }
    return {key: value for key, value in row.items() if value}
