"""Every path that Rundlet owns on disk, in one place.

``root`` (``/var/lib/rundlet`` or ``$XDG_DATA_HOME/rundlet``) survives reboots; ``run`` (``/run/rundlet`` or
``$XDG_RUNTIME_DIR/rundlet``) holds sockets and locks. Two engines differ by their root; ``instance`` (a hash of it) is
part of every kernel object's name.
"""

import hashlib
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    root: str
    run: str

    @property
    def instance(self) -> str:
        """Eight hexadecimal digits that name this engine in tables, bridges, cgroups and veths."""
        return hashlib.sha256(os.path.realpath(self.root).encode()).hexdigest()[:8]

    @property
    def database(self) -> str:
        return f"{self.root}/state.db"

    @property
    def content(self) -> str:
        """An OCI layout: blobs/<algorithm>/<hex>, ingest/ for what is being written."""
        return f"{self.root}/content"

    @property
    def snapshots(self) -> str:
        return f"{self.root}/snapshots"

    @property
    def containers(self) -> str:
        return f"{self.root}/containers"

    def container(self, container_id: str) -> str:
        """record.json, bundle, log, exit record, hosts, hostname, resolv.conf of one container."""
        return f"{self.root}/containers/{container_id}"

    @property
    def volumes(self) -> str:
        return f"{self.root}/volumes"

    @property
    def builds(self) -> str:
        """A directory for each build that is under way."""
        return f"{self.root}/builds"

    @property
    def build_history(self) -> str:
        """A directory for each of the last builds by BuildKit's protocol: its record, what it said, its statements."""
        return f"{self.root}/build-history"

    @property
    def build_mounts(self) -> str:
        """What ``RUN --mount=type=cache`` keeps between builds."""
        return f"{self.root}/build-cache"

    @property
    def cache(self) -> str:
        """Compiled seccomp programs and other things that can be made again."""
        return f"{self.root}/cache"

    @property
    def trust(self) -> str:
        """What repositories had signed when they were last asked."""
        return f"{self.root}/trust"

    @property
    def lock(self) -> str:
        """Held (flock) by the one engine that owns this root."""
        return f"{self.root}/engine.lock"

    @property
    def engine_socket(self) -> str:
        return f"{self.run}/rundlet.sock"

    @property
    def start_lock(self) -> str:
        """Held by the command line that is starting an engine."""
        return f"{self.run}/start.lock"

    @property
    def shim_sockets(self) -> str:
        return f"{self.run}/s"

    def shim_socket(self, container_id: str) -> str:
        """Short: a unix socket's path ends at 108 bytes."""
        return f"{self.run}/s/{container_id[:12]}"

    @property
    def names(self) -> str:
        """The resolver's socket and the name tables that it reads."""
        return f"{self.run}/dns"

    def directories(self) -> tuple[tuple[str, int], ...]:
        """What the engine makes at start, with modes."""
        return (
            (self.root, 0o711),
            (self.run, 0o711),
            (self.content, 0o700),
            (self.snapshots, 0o711),
            (self.containers, 0o710),
            (self.volumes, 0o711),
            (self.cache, 0o700),
            (self.builds, 0o700),
            (self.build_history, 0o700),
            (self.build_mounts, 0o700),
            (self.shim_sockets, 0o700),
            (self.names, 0o700),
        )
