"""``--attest``, ``--provenance``, ``--sbom``: what is stated of an image. See ``indexes`` for where it goes."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rundlet.api.builds import BuildOptions
from rundlet.builder.globs import source_of
from rundlet.builder.packages import DATABASES, OS_RELEASE, packages_in
from rundlet.builder.request import BuildRequest
from rundlet.builder.statements import (
    PROVENANCE,
    PROVENANCE_1,
    SPDX,
    Facts,
    Material,
    Subject,
    provenance,
    provenance_1,
    sbom,
)
from rundlet.builder.workspace import Workspace
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.image.records import Image
from rundlet.oci.digest import Digest
from rundlet.storage.files.access import PickRequest
from rundlet.util.clock import rfc3339_nano

_SCAN_LIMIT: Final = 256 << 20
"""Bytes of package databases that are read of one image."""
_VERSION: Final = "v0.2"
_PROVENANCE: Final = {_VERSION: (PROVENANCE, provenance), "v1": (PROVENANCE_1, provenance_1)}


class Wanted(msgspec.Struct, frozen=True):
    """Which statements a build is to make."""

    provenance: bool = False
    everything: bool = False
    sbom: bool = False
    builder: str = ""
    version: str = _VERSION

    def __bool__(self) -> bool:
        return self.provenance or self.sbom


def parse(texts: Sequence[str]) -> Wanted:
    """``type=provenance,mode=max``, ``type=sbom``. Raises InvalidParameterError, NotSupportedError."""
    wanted = Wanted()
    for text in texts:
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        kind = fields.pop("type", "")
        disabled = fields.pop("disabled", "false").lower() in ("true", "1")
        if kind == "sbom":
            allowed = frozenset[str]()
            change: dict[str, bool | str] = {"sbom": not disabled}
        elif kind == "provenance":
            allowed = frozenset(("mode", "builder-id", "version"))
            mode = fields.get("mode", "min")
            if mode not in ("min", "max"):
                raise InvalidParameterError(f'invalid mode "{mode}" of the attestation provenance')
            version = fields.get("version", _VERSION)
            if version not in _PROVENANCE:
                raise InvalidParameterError(f"unsupported provenance version {version}")
            change = {
                "provenance": not disabled,
                "everything": mode == "max",
                "builder": fields.get("builder-id", ""),
                "version": version,
            }
        else:
            raise InvalidParameterError(f"unknown attestation type {kind or text}")
        for name in fields:
            if name not in allowed:
                raise NotSupportedError(f"{name} of the attestation {kind}")
        wanted = msgspec.structs.replace(wanted, **change)
    return wanted


def facts_of(
    request: BuildRequest,
    options: BuildOptions,
    dockerfile: str,
    used: Mapping[str, Image],
    began_ns: int,
    ended_ns: int,
    wanted: Wanted,
) -> Facts:
    """What is known of a build that has just ended; with SOURCE_DATE_EPOCH it is always the same."""
    if request.epoch is not None:
        began_ns = ended_ns = request.epoch * 10**9
    return Facts(
        started=rfc3339_nano(began_ns),
        finished=rfc3339_nano(ended_ns),
        dockerfile_name=options.dockerfile or "Dockerfile",
        dockerfile=dockerfile,
        target=request.target,
        arguments={name: value or "" for name, value in request.arguments.items()},
        labels=request.labels,
        remote=options.remote,
        # What has an ID and no name came from another build, not from somewhere.
        materials=tuple(
            Material(name, image.manifest.digest)
            for name, image in sorted(used.items())
            if not name.startswith("sha256:")
        ),
        builder=wanted.builder,
    )


def predicate(image: Image, facts: Facts, version: str) -> tuple[str, str]:
    """All that is known of how ``image`` came to be: its kind, and the predicate without a statement around it."""
    kind, make = _PROVENANCE[version]
    statement = make(Subject(image.manifest.digest, image.platform, ()), facts, everything=True)
    return kind, msgspec.json.encode(msgspec.json.decode(statement)["predicate"]).decode()


class Attester:
    """One per engine."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def statements(
        self, image: Image, manifest: Digest, names: Sequence[str], wanted: Wanted, facts: Facts, workspace: Workspace
    ) -> dict[str, bytes]:
        """By kind of predicate, of an image whose manifest is ``manifest``. Raises FileAccessError."""
        subject = Subject(manifest, image.platform, tuple(names))
        found: dict[str, bytes] = {}
        if wanted.sbom:
            inventory = packages_in(await self._databases(image, workspace))
            found[SPDX] = sbom(subject, inventory, facts.finished)
        if wanted.provenance:
            kind, make = _PROVENANCE[wanted.version]
            found[kind] = make(subject, facts, everything=wanted.everything)
        return found

    async def _databases(self, image: Image, workspace: Workspace) -> bytes:
        """A tar of the files in which package managers write down what they did."""
        stack = self._context.images.layers(image.id)
        access = workspace.read_stack(stack)
        data = bytearray()
        try:
            request = PickRequest(sources=[source_of(path) for path in (*OS_RELEASE, *DATABASES)], parents=True)
            await access.pick(request)
            async for chunk in access.chunks():
                if len(data) < _SCAN_LIMIT:
                    data += chunk
        finally:
            await access.close()
        return bytes(data)
