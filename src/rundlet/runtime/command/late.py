"""Bind mounts whose source is in the container's own tree, where an earlier mount may have put something else.

All other sources are taken beforehand, in the machine's mount namespace. These are looked up by init when it is their
turn, beneath the container's root. Only the machine's root may change how a file system shows its owners: init, which
may be in a user namespace, has the runtime's process do that, over the line that hooks are asked for by.
See: OCI runtime-spec, config.md, "Mounts" ("The runtime MUST mount entries in the listed order").
"""

import errno
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import libc, mount, path, usermap
from rundlet.runtime.init import mounts, options
from rundlet.runtime.init.hooks import HookError
from rundlet.runtime.init.options import Options
from rundlet.runtime.init.steps import Context, Step

KEY: Final = "rundlet_late"
"""In the configuration's mounts: the source is in the container's tree."""
_MAP: Final = b"map:"
_ANSWER: Final = 4096


class LateBind(NamedTuple):
    """A bind of what is in the container's tree by now. ``position`` is the mount's in the configuration."""

    source: str
    destination: str
    options: Options
    position: int
    mapped: bool
    own_mappings: bool
    line: int
    step: str = "mount"

    def describe(self) -> str:
        return f"bind the container's {self.source} on {self.destination}"

    def execute(self, context: Context) -> None:
        try:
            tree = self._take(context.root)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, f"{self.destination} (the container's {self.source})") from None
        if self.mapped:
            self._map(context, tree)
        mounts.MountBind(self.source, tree, self.destination, self.options).execute(context)

    def _take(self, root: int) -> int:
        found = path.open_in_root(root, self.source, os.O_PATH)
        recursive = libc.AT_RECURSIVE if self.options.bind_recursive else 0
        try:
            return mount.open_tree(found, "", mount.OPEN_TREE_CLONE | libc.AT_EMPTY_PATH | recursive)
        finally:
            os.close(found)

    def _map(self, context: Context, tree: int) -> None:
        sent = [tree]
        if not self.own_mappings:
            sent.append(os.open("self/ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=context.proc()))
        line = socket.socket(fileno=self.line)
        try:
            socket.send_fds(line, [_MAP + str(self.position).encode()], sent)
            answer = line.recv(_ANSWER)
        finally:
            line.detach()
            for fd in sent[1:]:
                os.close(fd)
        if not answer:
            raise OSError(errno.EPIPE, os.strerror(errno.EPIPE), self.source)
        said = json.loads(answer)
        if said["error"]:
            raise HookError(said["error"])


def marked(entry: Mapping[str, Any], rootfs: str) -> dict[str, Any]:
    """A bind of the configuration, with its source as a path in the container where it is one."""
    real = os.path.realpath(entry["source"])
    if real != rootfs and not real.startswith(f"{rootfs}/"):
        return dict(entry)
    # As it is written, where that tells: what is a link now may be a directory after an earlier mount.
    written = os.path.normpath(entry["source"])
    inside = written if written == rootfs or written.startswith(f"{rootfs}/") else real
    return {**entry, "source": inside.removeprefix(rootfs) or "/", KEY: True}


def adapt(steps: Sequence[Step], config: Mapping[str, Any], line: int) -> list[Step]:
    """The plan with those binds in their places."""
    late = iter([(place, entry) for place, entry in enumerate(config["mounts"]) if entry.get(KEY)])
    return [
        _step(item, *next(late), line) if isinstance(item, mounts.MountFilesystem) and item.kind == "bind" else item
        for item in steps
    ]


def _step(item: mounts.MountFilesystem, position: int, entry: Mapping[str, Any], line: int) -> LateBind:
    own = bool(entry.get("uidMappings"))
    return LateBind(entry["source"], item.destination, item.options, position, own or item.options.idmap, own, line)


def serve(message: bytes, descriptors: list[int], config: Mapping[str, Any], line: socket.socket) -> bool:
    """In the runtime's process: carry out what init asks for; False where it asked for something else."""
    if not message.startswith(_MAP):
        return False
    entry = config["mounts"][int(message.removeprefix(_MAP))]
    error = ""
    try:
        _show(entry, descriptors)
    except (OSError, ValueError) as exc:
        error = f"mount {entry['destination']}: {exc}"
    finally:
        for fd in descriptors:
            os.close(fd)
    line.send(json.dumps({"error": error}).encode())
    return True


def _show(entry: Mapping[str, Any], descriptors: list[int]) -> None:
    if entry.get("uidMappings"):
        mappings = usermap.parse(entry["uidMappings"]), usermap.parse(entry["gidMappings"])
        descriptors.append(usermap.make(*mappings)[0])
    tree, namespace = descriptors
    recursive = options.parse(entry.get("options") or ()).idmap_recursive
    usermap.show(tree, namespace, entry["source"], recursive=recursive)
