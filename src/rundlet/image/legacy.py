"""Archives of Docker before 1.10: ``repositories`` and one directory for each layer, named by a v1 ID.

A v1 image is a chain of layers with a JSON each; the last one's JSON becomes the config.
"""

from typing import Any

import msgspec

from rundlet.image.archive import DOCUMENT_LIMIT, ArchiveError
from rundlet.image.unarchive import Parts
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.storage.content import ContentStore

_DROPPED = ("id", "parent", "parent_id", "layer_id", "Size", "throwaway", "checksum")
DEPTH_LIMIT = 127


class LegacyImage(msgspec.Struct, frozen=True):
    """A config made of v1 JSON, the layers bottom first, and the names."""

    config: bytes
    layers: tuple[Descriptor, ...]
    names: tuple[str, ...]


def legacy_images(parts: Parts, repositories: bytes, content: ContentStore) -> list[LegacyImage]:
    """Every image that ``repositories`` names. Raises ArchiveError."""
    try:
        named = msgspec.json.decode(repositories, type=dict[str, dict[str, str]])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise ArchiveError(f"invalid repositories file: {exc}") from exc
    names: dict[str, list[str]] = {}
    for name, tags in named.items():
        for tag, image in tags.items():
            names.setdefault(image, []).append(f"{name}:{tag}")
    return [_image(parts, image, tuple(found), content) for image, found in names.items()]


def _image(parts: Parts, top: str, names: tuple[str, ...], content: ContentStore) -> LegacyImage:
    steps: list[dict[str, Any]] = []
    layers: list[Descriptor] = []
    current: str | None = top
    while current:
        if len(steps) >= DEPTH_LIMIT:
            raise ArchiveError("invalid archive: an image has more layers than any can have")
        step = _json(parts, f"{current}/json", content)
        layer = parts.find(f"{current}/layer.tar")
        if layer is None:
            raise ArchiveError(f"invalid archive: {current}/layer.tar is missing")
        steps.insert(0, step)
        layers.insert(0, layer)
        current = step.get("parent")
    return LegacyImage(_config(steps, [layer.digest for layer in layers]), tuple(layers), names)


def _json(parts: Parts, name: str, content: ContentStore) -> dict[str, Any]:
    part = parts.find(name)
    if part is None:
        raise ArchiveError(f"invalid archive: {name} is missing")
    try:
        return msgspec.json.decode(content.read(part.digest, DOCUMENT_LIMIT), type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise ArchiveError(f"invalid archive: {name}: {exc}") from exc


def _config(steps: list[dict[str, Any]], diff_ids: list[Digest]) -> bytes:
    document = {key: value for key, value in steps[-1].items() if key not in _DROPPED}
    document["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
    document["history"] = [_history(step) for step in steps]
    return msgspec.json.encode(document)


def _history(step: dict[str, Any]) -> dict[str, Any]:
    command = (step.get("container_config") or {}).get("Cmd") or []
    row = {
        "created": step.get("created"),
        "author": step.get("author"),
        "created_by": " ".join(str(word) for word in command),
        "comment": step.get("comment"),
    }
    return {key: value for key, value in row.items() if value}
