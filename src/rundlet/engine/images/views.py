"""Image records as the API's answers."""

from collections.abc import Sequence

import msgspec

from rundlet.api.base import EMPTY
from rundlet.api.container_config import HealthConfig
from rundlet.api.containers import GraphDriver
from rundlet.api.descriptor import Descriptor as WireDescriptor
from rundlet.api.descriptor import Platform as WirePlatform
from rundlet.api.images import (
    AttestationProperties,
    ImageConfig,
    ImageInspect,
    ImageMetadata,
    ImageProperties,
    ImageSummary,
    ManifestSize,
    ManifestSummary,
    RootFS,
)
from rundlet.image.records import Image, Layer
from rundlet.image.variants import Variant
from rundlet.oci.config import ContainerConfig, Healthcheck
from rundlet.oci.config import ImageConfig as StoredConfig
from rundlet.oci.descriptor import Descriptor
from rundlet.util.clock import rfc3339_nano


def summary(image: Image, *, containers: int, shared: int, digests: bool = True) -> ImageSummary:
    """One line of the list; ``containers`` and ``shared`` -1 when not asked for."""
    return ImageSummary(
        containers=containers,
        created=image.created_ns // 10**9,
        id=str(image.id),
        labels=image.labels or None,
        parent_id=str(image.parent) if image.parent else "",
        repo_digests=tuple(image.repo_digests) if digests else (),
        repo_tags=tuple(image.repo_tags),
        shared_size=shared,
        size=image.size,
    )


def manifest(variant: Variant, containers: Sequence[str]) -> ManifestSummary:
    """One manifest of an image: what travels (content), and the files it is unpacked to."""
    unpacked = variant.image.size if variant.image is not None else 0
    size = ManifestSize(content=variant.content, total=variant.content + unpacked)
    platform = variant.platform
    common = ManifestSummary(
        id=str(variant.descriptor.digest),
        descriptor=descriptor(variant.descriptor),
        available=variant.available,
        size=size,
        kind="image",
    )
    if variant.attests is not None:
        attested = AttestationProperties(for_=str(variant.attests))
        return msgspec.structs.replace(common, kind="attestation", attestation_data=attested)
    return msgspec.structs.replace(
        common,
        image_data=ImageProperties(
            platform=WirePlatform(architecture=platform.architecture, os=platform.os, variant=platform.variant),
            size={"Unpacked": unpacked},
            containers=tuple(containers),
        ),
    )


def inspect(image: Image, config: StoredConfig, layers: Sequence[Layer], driver: GraphDriver) -> ImageInspect:
    """``driver`` says where the layers' files are."""
    return ImageInspect(
        id=str(image.id),
        repo_tags=tuple(image.repo_tags),
        repo_digests=tuple(image.repo_digests),
        parent=str(image.parent) if image.parent else "",
        comment=_comment(config),
        created=image.created,
        docker_version=config.docker_version,
        author=config.author,
        config=_config(config.config or ContainerConfig()),
        architecture=config.architecture,
        variant=config.variant,
        os=config.os or "linux",
        os_version=config.os_version,
        size=image.size,
        graph_driver=driver,
        root_fs=RootFS(layers=tuple(str(layer.diff_id) for layer in layers)),
        metadata=ImageMetadata(last_tag_time=rfc3339_nano(image.tagged_ns)),
    )


def graph_driver(directories: Sequence[str], name: str = "overlay2", **more: str) -> GraphDriver:
    """Where the files of a stack of layers are; the top one is "upper" to Docker's readers."""
    data: dict[str, str] = dict(more)
    if directories and "UpperDir" not in data:
        data["UpperDir"] = directories[0]
        directories = directories[1:]
    if directories:
        data["LowerDir"] = ":".join(directories)
    return GraphDriver(data=data, name=name)


def descriptor(value: Descriptor) -> WireDescriptor:
    return WireDescriptor(media_type=value.media_type, digest=str(value.digest), size=value.size)


def _comment(config: StoredConfig) -> str:
    if config.comment:
        return config.comment
    history = config.history or []
    return history[-1].comment if history else ""


def _config(config: ContainerConfig) -> ImageConfig:
    return ImageConfig(
        user=config.user,
        exposed_ports=dict.fromkeys(config.exposed_ports or (), EMPTY),
        env=tuple(config.env) if config.env else None,
        entrypoint=tuple(config.entrypoint) if config.entrypoint is not None else None,
        cmd=tuple(config.cmd) if config.cmd else None,
        volumes=dict.fromkeys(config.volumes, EMPTY) if config.volumes else None,
        working_dir=config.working_dir,
        labels=config.labels or None,
        stop_signal=config.stop_signal,
        args_escaped=config.args_escaped,
        healthcheck=_health(config.healthcheck),
        on_build=tuple(config.on_build) if config.on_build else None,
        shell=tuple(config.shell) if config.shell is not None else None,
    )


def _health(check: Healthcheck | None) -> HealthConfig | None:
    if check is None:
        return None
    return HealthConfig(
        test=tuple(check.test) if check.test is not None else None,
        interval=check.interval,
        timeout=check.timeout,
        start_period=check.start_period,
        start_interval=check.start_interval,
        retries=check.retries,
    )
