"""Manifest lists that are being put together: kept where Docker keeps them, ``~/.docker/manifests``, as Docker does.

One directory for a list, one file for each of its manifests: what one command line begins, the other can finish. The
registries are asked by the engine, which knows mirrors, insecure registries and tokens (endpoints of Rundlet's own).
"""

from __future__ import annotations

import os

from rundlet.cli.credentials import registry_headers
from rundlet.cli.exit import CommandError
from rundlet.cli.reference import ImageName, parse
from rundlet.client.errors import ApiError
from rundlet.client.wire import DecodeError, dumps, loads, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rundlet.cli.context import Context

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LISTS = (DOCKER_LIST, OCI_INDEX)


def image_name(text: str, what: str = "") -> ImageName:
    """With a tag or a digest. ``what``: of which the name is, for its error. Raises CommandError."""
    try:
        return parse(text).with_default_tag()
    except CommandError as exc:
        if what:
            raise CommandError(f"{what} {text}: {exc.message}") from exc
        raise


# ── in registries ────────────────────────────────────────────────────────────────────────────────────────────


def fetch(context: Context, name: ImageName, *, insecure: bool) -> dict[str, Any] | None:
    """``{"Ref", "Descriptor", "Raw"}`` as the registry has it (``Raw`` in base64); None when it has nothing.

    Raises CommandError, ClientError.
    """
    try:
        found = context.session.json(
            "GET",
            f"/distribution/{quote(str(name), '/:@')}/manifest",
            query={"insecure": insecure or None},
            headers=registry_headers(context, name.domain),
        )
    except ApiError as exc:
        if exc.status == 404 and "page not found" in exc.message:
            raise CommandError(
                "docker manifest commands need Rundlet's own engine: this one has no such endpoint"
            ) from exc
        if exc.status == 404:
            return None
        raise CommandError(exc.message) from exc
    return entry(name, found["Descriptor"], found["Raw"])


def fetch_image(context: Context, name: ImageName, *, insecure: bool) -> dict[str, Any]:
    """One platform's manifest. Raises CommandError when there is none, or a list."""
    found = fetch(context, name, insecure=insecure)
    if found is None:
        raise CommandError(f"no such manifest: {name}")
    if found["Descriptor"]["mediaType"] in LISTS:
        raise CommandError(f"{name} is a manifest list")
    return found


def push(
    context: Context,
    name: ImageName,
    data: bytes,
    media_type: str,
    source: str,
    *,
    insecure: bool,
    blobs: Sequence[bytes] = (),
) -> str:
    """Store ``data`` under ``name``; its blobs come along, or are taken over from ``source``. Its digest there."""
    body: dict[str, Any] = {"MediaType": media_type, "Raw": to_base64(data), "Source": source}
    if blobs:
        body["Blobs"] = [to_base64(blob) for blob in blobs]
    try:
        answer = context.session.json(
            "POST",
            f"/distribution/{quote(str(name), '/:@')}/manifest",
            query={"insecure": insecure or None},
            body=body,
            headers=registry_headers(context, name.domain),
        )
    except ApiError as exc:
        raise CommandError(exc.message) from exc
    return str(answer["Descriptor"]["digest"])


# ── put together here ────────────────────────────────────────────────────────────────────────────────────────


def entry(name: ImageName, descriptor: dict[str, Any], raw: str) -> dict[str, Any]:
    """A manifest as Docker writes it into its file."""
    made: dict[str, Any] = {"Ref": str(name), "Descriptor": descriptor, "Raw": raw}
    if descriptor["mediaType"] not in LISTS:
        key = "OCIManifest" if descriptor["mediaType"] == OCI_MANIFEST else "SchemaV2Manifest"
        made[key] = loads(from_base64(raw))
    return made


def _directory(context: Context, name: ImageName) -> str:
    return f"{context.config_directory}/manifests/{_file_name(name)}"


def _file_name(name: ImageName) -> str:
    return str(name).replace(":", "-").replace("/", "_")


def read_list(context: Context, name: ImageName) -> list[dict[str, Any]]:
    """The manifests of the local list; none when there is no such list. Raises CommandError."""
    directory = _directory(context, name)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    return [_read(f"{directory}/{file}") for file in names if not file.endswith(".tmp")]


def read_image(context: Context, name: ImageName, image: ImageName) -> dict[str, Any] | None:
    """One manifest of the local list. Raises CommandError."""
    path = f"{_directory(context, name)}/{_file_name(image)}"
    return _read(path) if os.path.exists(path) else None


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            found = loads(file.read())
    except (OSError, DecodeError) as exc:
        raise CommandError(f"{path}: {exc}") from exc
    if not isinstance(found, dict) or not isinstance(found.get("Descriptor"), dict):
        raise CommandError(f"{path}: not a manifest that this command line knows")
    if "Raw" not in found:
        found["Raw"] = _raw(path, found)
    return found


def _raw(path: str, found: dict[str, Any]) -> str:
    """Older command lines keep the document only: its bytes are as Docker writes them. Raises CommandError."""
    import hashlib
    import json

    data = json.dumps(found.get("SchemaV2Manifest"), indent="   ", ensure_ascii=False).encode()
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != found["Descriptor"].get("digest"):
        raise CommandError(f"{path}: its manifest can't be written again as the registry has it: create the list anew")
    return to_base64(data)


def write_image(context: Context, name: ImageName, image: dict[str, Any]) -> None:
    """Put ``image`` into the local list. Raises CommandError."""
    from rundlet.util.fs import write_atomic

    directory = _directory(context, name)
    path = f"{directory}/{_file_name(parse(image['Ref']))}"
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        write_atomic(path, dumps(image).encode(), mode=0o644)
    except OSError as exc:
        raise CommandError(f"{exc.filename or path}: {(exc.strerror or '').lower()}") from exc


def remove_list(context: Context, name: ImageName) -> None:
    """Forget the local list. Raises CommandError."""
    directory = _directory(context, name)
    try:
        for file in os.listdir(directory):
            os.unlink(f"{directory}/{file}")
        os.rmdir(directory)
    except FileNotFoundError as exc:
        raise CommandError(f"No such manifest: {name}") from exc
    except OSError as exc:
        raise CommandError(f"{exc.filename}: {(exc.strerror or '').lower()}") from exc


def document(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The list of ``images``: Docker's kind, or OCI's when one of them is OCI's."""
    oci = any(image["Descriptor"]["mediaType"] == OCI_MANIFEST for image in images)
    manifests = []
    for image in images:
        descriptor = image["Descriptor"]
        listed = {key: descriptor[key] for key in ("mediaType", "size", "digest")}
        manifests.append({**listed, "platform": descriptor.get("platform") or {}})
    return {"schemaVersion": 2, "mediaType": OCI_INDEX if oci else DOCKER_LIST, "manifests": manifests}


def from_base64(text: str) -> bytes:
    from binascii import a2b_base64

    return a2b_base64(text)


def to_base64(data: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(data, newline=False).decode()
