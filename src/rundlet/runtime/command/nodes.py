"""Devices of a container with users of its own: made where that is allowed, by the machine's root, and mounted.

Nobody can make device nodes in a user namespace, and the machine's own nodes have the machine's owners. So those that
the configuration lists are made on a file system of their own, with the owners and modes that it says.
"""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.linux import libc, mount, usermap
from rundlet.runtime.init import devices
from rundlet.runtime.init.steps import Context, Step
from rundlet.runtime.init.users import Users

_KINDS: Final = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK}
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class BindNodes(NamedTuple):
    """``nodes``: paths in the container, and descriptors of what is mounted there."""

    nodes: tuple[tuple[str, int], ...]
    step: str = "device"

    def describe(self) -> str:
        return "devices made outside: " + " ".join(where for where, _ in self.nodes)

    def execute(self, context: Context) -> None:
        for where, fd in self.nodes:
            directory, name, close = devices.parent(context, where)
            try:
                os.close(os.open(name, _NEW, 0o666, dir_fd=directory))
                mount.move_mount(fd, directory, name)
            except OSError as exc:
                raise OSError(exc.errno, exc.strerror, where) from None
            finally:
                if close:
                    os.close(directory)
                os.close(fd)


def make(linux: Mapping[str, Any], users: Users | None, place: str) -> dict[str, int]:
    """Mounts of the listed nodes, by their paths; none for a container with the machine's users.

    None either where this process may not make any: then the machine's own have to do.

    ``place`` is a directory to mount at meanwhile, which this process's mount namespace is alone to see. Raises:
    OSError; ValueError for an owner whom the container doesn't know.
    """
    wanted = [item for item in linux.get("devices") or () if item["type"] in _KINDS]
    if users is None or not wanted:
        return {}
    tree = mount.new_filesystem("tmpfs", {"source": "tmpfs", "mode": "0755"})
    try:
        mount.move_mount(tree, libc.AT_FDCWD, place)
        return {item["path"]: _made(tree, str(number), item, users) for number, item in enumerate(wanted)}
    except PermissionError:
        return {}
    finally:
        os.close(tree)
        mount.umount(place, mount.MNT_DETACH)


def _made(tree: int, name: str, item: Mapping[str, Any], users: Users) -> int:
    owner = usermap.outside(users.users, item.get("uid") or 0), usermap.outside(users.groups, item.get("gid") or 0)
    os.mknod(name, _KINDS[item["type"]], os.makedev(item["major"], item["minor"]), dir_fd=tree)
    os.chown(name, *owner, dir_fd=tree)
    os.chmod(name, item.get("fileMode") or 0o666, dir_fd=tree)
    return mount.open_tree(tree, name, mount.OPEN_TREE_CLONE)


def adapt(steps: Iterable[Step], made: Mapping[str, int]) -> Sequence[Step]:
    """The plan with those in the place of nodes that would be looked for on the machine."""
    result: list[Step] = []
    for item in steps:
        if isinstance(item, devices.MakeDevices):
            bound = tuple((node.path, made[node.path]) for node in item.nodes if node.path in made)
            result += [BindNodes(bound)] if bound else []
            result.append(item._replace(nodes=tuple(node for node in item.nodes if node.path not in made)))
        else:
            result.append(item)
    return result
