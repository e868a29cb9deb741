"""Where a cgroup lies: its directory in each hierarchy."""

import os

from rundlet.linux.cgroup.layout import V2, Layout


class Places:
    """The cgroup ``path`` ("/rundlet-1234abcd/<id>") as directories of the hierarchies of ``layout``."""

    __slots__ = ("layout", "path")

    def __init__(self, path: str, layout: Layout) -> None:
        parts = path.strip("/").split("/")
        if not path.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"invalid cgroup path {path!r}")
        self.path = "/" + "/".join(parts)
        self.layout = layout

    def directory(self, controller: str) -> str | None:
        """The directory that has the files of ``controller``; None where the machine lacks it."""
        mountpoint = self.layout.mountpoint(controller)
        if mountpoint is None and (self.layout.version == V2 or controller in self.layout.unified_controllers):
            mountpoint = self.layout.unified
        return None if mountpoint is None else mountpoint + self.path

    @property
    def unified(self) -> str | None:
        """The directory in the v2 hierarchy, where there is one (in hybrid layouts, too)."""
        return None if self.layout.unified is None else self.layout.unified + self.path

    @property
    def directories(self) -> list[str]:
        """The directory in each hierarchy."""
        found = [hierarchy.mountpoint + self.path for hierarchy in self.layout.hierarchies]
        return found if self.unified is None else [*found, self.unified]

    def exists(self) -> bool:
        return any(os.path.isdir(directory) for directory in self.directories)
