"""``--build-context NAME=oci-layout://DIRECTORY[:TAG|@DIGEST]``: an image that lies in a directory of this machine."""

from __future__ import annotations

import os

from rundlet.cli.building.packing import Tree, nothing_but
from rundlet.cli.exit import CommandError
from rundlet.client.wire import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SCHEME = "oci-layout://"
_INDEX = "index.json"
_REFERENCES = ("org.opencontainers.image.ref.name", "io.containerd.image.name")
_STATEMENT = "vnd.docker.reference.type"
_DEPTH = 4
_LIMIT = 4 << 20


def layout_tree(value: str) -> Tree:
    """The layout of just the image that is meant, each platform's by itself, without names: what is loaded of it takes
    nobody's. Raises CommandError."""
    text = value.removeprefix(SCHEME)
    path, at, digest = text.partition("@")
    directory, colon, tag = path.rpartition(":") if ":" in path.rpartition("/")[2] else (path, "", "")
    root = os.path.realpath(directory)
    index = _document(os.path.join(root, _INDEX), value)
    entries = [entry for entry in index.get("manifests") or () if isinstance(entry, dict)]
    entry = _chosen(entries, digest if at else "", tag if colon else "latest")
    if entry is None:
        raise CommandError(f'ERROR: failed to build: oci-layout reference "{value}" could not be resolved')
    manifests = list(_manifests(root, entry, value, _DEPTH))
    wanted = {blob for _, blobs in manifests for blob in blobs}
    extra = {_INDEX: dumps({"schemaVersion": 2, "manifests": [manifest for manifest, _ in manifests]}).encode()}
    return Tree(root, nothing_but([_INDEX, "oci-layout", *sorted(wanted)]), extra)


def _chosen(entries: list[dict[str, Any]], digest: str, tag: str) -> dict[str, Any] | None:
    if digest:
        return next((entry for entry in entries if entry.get("digest") == digest), None)
    for entry in entries:
        names = [str((entry.get("annotations") or {}).get(key, "")) for key in _REFERENCES]
        if tag in names or any(name.endswith(f":{tag}") for name in names):
            return entry
    return entries[0] if len(entries) == 1 else None


def _manifests(root: str, entry: dict[str, Any], value: str, depth: int) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Those that ``entry`` of an index stands for, with the files that each is made of; no statements about images."""
    path = _blob(entry, value)
    document = _document(os.path.join(root, path), value)
    for inner in document.get("manifests") or ():
        there = os.path.exists(os.path.join(root, _blob(inner, value)))
        if depth and there and _STATEMENT not in (inner.get("annotations") or {}):
            yield from _manifests(root, inner, value, depth - 1)
    if document.get("config"):
        parts = (document["config"], *(document.get("layers") or ()))
        plain = {key: found for key, found in entry.items() if key != "annotations"}
        yield plain, [path, *(_blob(part, value) for part in parts)]


def _blob(descriptor: dict[str, Any], value: str) -> str:
    algorithm, _, encoded = str(descriptor.get("digest")).partition(":")
    if not (algorithm.isalnum() and encoded.isalnum()):
        raise CommandError(f"ERROR: failed to build: {value}: not an OCI layout: bad digest")
    return f"blobs/{algorithm}/{encoded}"


def _document(path: str, value: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            document = loads(file.read(_LIMIT))
    except OSError as exc:
        raise CommandError(f"ERROR: failed to build: {value}: open {path}: {(exc.strerror or '').lower()}") from exc
    except ValueError as exc:
        raise CommandError(f"ERROR: failed to build: {value}: {path}: not JSON") from exc
    if not isinstance(document, dict):
        raise CommandError(f"ERROR: failed to build: {value}: {path}: not a document of an OCI layout")
    return document
