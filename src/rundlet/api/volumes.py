"""Volumes: answers of list, inspect, create, prune."""

from typing import Any

from rundlet.api.base import Labels, Options, Wire, always, optional_map
from rundlet.api.filters import Filters


class VolumeUsage(Wire, frozen=True):
    """Bytes and how many containers use it; -1 when not known."""

    ref_count: int = always(-1)
    size: int = always(-1)


class Volume(Wire, frozen=True):
    created_at: str = ""
    driver: str = always("local")
    labels: Labels | None = always(None)
    mountpoint: str = always("")
    name: str = always("")
    options: dict[str, str] | None = always(None)
    scope: str = always("local")
    status: dict[str, Any] = optional_map()
    usage_data: VolumeUsage | None = None


class VolumeCreate(Wire, frozen=True):
    """Body of ``POST /volumes/create``."""

    cluster_volume_spec: dict[str, Any] | None = None
    driver: str = ""
    driver_opts: dict[str, str] = optional_map()
    labels: Labels = optional_map()
    name: str = ""


class VolumeList(Wire, frozen=True):
    volumes: tuple[Volume, ...] = always(())
    warnings: tuple[str, ...] | None = always(None)


class VolumesPruned(Wire, frozen=True):
    """Docker gives an empty list here, where the other prunes give null."""

    volumes_deleted: tuple[str, ...] = always(())
    space_reclaimed: int = always(0)


class VolumeListOptions(Options, frozen=True):
    filters: Filters = Filters()


class VolumeRemoveOptions(Options, frozen=True):
    force: bool = False
