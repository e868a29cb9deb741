"""Snapshots: directories of layers and containers, and how they stack."""

from rundlet.storage.snapshot.copying import CopyingSnapshotter
from rundlet.storage.snapshot.overlay import SCHEMA, OverlaySnapshotter
from rundlet.storage.snapshot.snapshotter import LayerInfo, Preparation, Rootfs, Snapshotter

__all__ = ["SCHEMA", "CopyingSnapshotter", "LayerInfo", "OverlaySnapshotter", "Preparation", "Rootfs", "Snapshotter"]
