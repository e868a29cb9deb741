"""Docker's image configuration: what a container of the image runs, and which layers it has.

See: OCI image-spec, config.md, and Docker's extensions to it (Healthcheck, OnBuild, Shell, ArgsEscaped …).
"""

from typing import Any, Final

import msgspec

from rundlet.oci.codec import InvalidDocumentError, decode, encode
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform

SIZE_LIMIT: Final = 8 << 20
"""Bytes of a config that are read at most."""


class Healthcheck(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """How to find out that a container works. Durations are in nanoseconds, 0 is "inherit"."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ContainerConfig(msgspec.Struct, frozen=True, omit_defaults=True, rename="pascal"):
    """The ``config`` object: the defaults of the image's containers. None and absent mean the same."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, Any] | None] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False
    image: str = ""
    volumes: dict[str, dict[str, Any] | None] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    network_disabled: bool = False
    mac_address: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    shell: list[str] | None = None


class RootFS(msgspec.Struct, frozen=True):
    """The image's layers by diff ID, bottom first."""

    type: str = "layers"
    diff_ids: tuple[Digest, ...] | None = ()


class History(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one layer, or a step without one, came to be."""

    created: str | None = None
    author: str = ""
    created_by: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """A view on an image's configuration. The bytes as received are the image; their digest is its ID."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    author: str = ""
    comment: str = ""
    container: str = ""
    container_config: ContainerConfig | None = None
    config: ContainerConfig | None = None
    created: str | None = None
    docker_version: str = ""
    history: list[History] | None = None
    rootfs: RootFS = RootFS()
    steps: dict[str, str] | None = msgspec.field(default=None, name="rundlet.steps.v0")
    """Of a build's steps that have files: what decided them, by the step's place in the history. So the image is a
    build cache wherever it goes; BuildKit's own is in such a field, too."""

    @classmethod
    def decode(cls, data: bytes) -> "ImageConfig":
        """A view on ``data``. Raises InvalidDocumentError."""
        try:
            config = decode(data, cls, "image config")
        except InvalidDocumentError:
            # Only the rare old config takes the slow way: null for a value, a string for a list.
            config = decode(msgspec.json.encode(_lenient(data)), cls, "image config")
        if config.rootfs.type not in ("layers", ""):
            raise InvalidDocumentError("image config", f"rootfs of type {config.rootfs.type!r}")
        return config

    def encode(self) -> bytes:
        """New bytes, for an image that Rundlet makes."""
        return encode(self)

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        return self.rootfs.diff_ids or ()

    @property
    def platform(self) -> Platform:
        """What the image runs on; an empty operating system is linux, as Docker takes it."""
        features = tuple(self.os_features or ())
        return Platform(self.architecture, self.os or "linux", self.variant, self.os_version, features)


_STRING_LISTS: Final = ("Cmd", "Entrypoint", "Shell", "OnBuild", "Env")


def _lenient(data: bytes) -> Any:
    """What Go's decoder would have made of the document: null leaves the zero value, a string is a list of one."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise InvalidDocumentError("image config", str(exc)) from exc
    if not isinstance(document, dict):
        raise InvalidDocumentError("image config", "it is not an object")
    document = {key: value for key, value in document.items() if value is not None}
    for name in ("config", "container_config"):
        section = document.get(name)
        if isinstance(section, dict):
            document[name] = _lenient_section(section)
    return document


def _lenient_section(section: dict[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in section.items() if value is not None}
    for name in _STRING_LISTS:
        if isinstance(result.get(name), str):
            result[name] = [result[name]]
    return result
