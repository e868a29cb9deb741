"""What a container runs in: mount and network namespaces and the root file system. Made by the starter.

The starter moves into both namespaces, and init inherits them. Nothing of it shows in the host's mount table. The shim
stays outside and holds descriptors: of the network namespace, for restarts, and of the root's mount, so that the last
reference to the overlay goes when the shim lets go of it and not while somebody waits for the container's end (it
syncs the whole file system below). Under another OCI runtime the shim itself moves in, as that runtime must find both.

With users of its own the container also has a user namespace, which owns the network's. What is mounted is made by the
machine's root nevertheless: the layers are shown through mounts that know the container's range, so the disk has the
container's numbers. Last of all the starter moves into the user namespace (:meth:`Sandbox.enter_users`).
"""

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Final

from rundlet.linux import copyup, libc, mount, netlink, ns, path, roots, uppers, usermap
from rundlet.runtime.init import options
from rundlet.runtime.init.program import sysctl_path
from rundlet.runtime.init.users import Users
from rundlet.runtime.shim import images, resolver
from rundlet.runtime.shim.resolver import ResolverFds

Spec = Mapping[str, Any]

_EEXIST: Final = 17


class Sandbox:
    """``network`` and ``user`` are descriptors of namespaces that a former life left, -1: none."""

    def __init__(self, spec: Spec, network: int = -1, user: int = -1) -> None:
        self._spec = spec
        self._host: netlink.Netlink | None = None
        self._former = network
        self.users = Users.of(spec["oci"])
        self.user = user
        self.binds: dict[int, int] = {}
        self.rootfs = ""
        self.rootfs_fd = -1
        self.resolver: ResolverFds | None = None
        self.pid_namespace = -1
        self.namespaces: list[tuple[int, int]] = []

    def enter(self) -> None:
        """Make the namespaces and the root file system, and move in. Raises: OSError."""
        network = self._spec["net"]
        flags = ns.CLONE_NEWNS
        joined = self._former
        if joined < 0 and network["mode"] in ("new", "none"):
            flags |= ns.CLONE_NEWNET
        if self.users is not None and self.user < 0:
            own = flags & ns.CLONE_NEWNET
            self.user, *made = usermap.make(self.users.users, self.users.groups, own)
            flags, joined = flags & ~own, made[0] if made else joined
        elif self.users is not None and flags & ns.CLONE_NEWNET:
            flags, joined = flags & ~ns.CLONE_NEWNET, usermap.within(self.user, ns.CLONE_NEWNET)[0]
        if joined < 0 and network["mode"] == "join":
            joined = self._open(network["join"])
        if network.get("links"):
            self._host = netlink.Netlink()
        libc.unshare(flags)
        if joined >= 0:
            libc.setns(joined, ns.CLONE_NEWNET)
        # Bind sources are taken while our mounts are still peers of the host's: "rshared" must reach the host.
        self._take_binds()
        if self.users is not None and network["mode"] == "join":
            self._take_sysfs()
        roots.isolate(mount.MS_SLAVE)
        # An engine in a chroot: who joins the container later would arrive at the machine's root.
        roots.leave_chroot()
        self._map_layers()
        self._take_images()
        self._mount_rootfs(self._spec["rootfs"])
        self._fill_volumes()

    def connect(self) -> None:
        """Plug the network in: two sends on netlink. Raises: OSError."""
        network = self._spec["net"]
        if network["mode"] not in ("new", "none") or self._former >= 0:
            return
        links = network.get("links") or ()
        if links:
            self._make_links(links)
        write_sysctls(network.get("sysctls"))
        with netlink.Netlink() as inside:
            inside.configure_sandbox([interface(link) for link in links], ways_out(network.get("routes")))
        if network.get("resolver"):
            opened = resolver.open_sockets()
            here = ns.open_namespace("self", "network")
            self.resolver = resolver.hand_over(opened, here, network["resolver"], self._spec["id"])
            os.close(here)

    def _take_binds(self) -> None:
        """Take descriptors of everything that is to be bound into the container."""
        for position, entry in enumerate(self._spec["oci"].get("mounts") or ()):
            wanted = options.parse(entry.get("options") or ())
            if entry.get("rundlet_layers") is not None or entry.get("rundlet_late"):
                continue  # an image's, made later: it takes a place to mount, which must not be the host's
            if entry.get("type") == "bind" or wanted.bind:
                recursive = libc.AT_RECURSIVE if wanted.bind_recursive else 0
                flags = mount.OPEN_TREE_CLONE | recursive
                if entry.get("rundlet_subpath"):
                    self.binds[position] = images.beneath(entry["source"], entry["rundlet_subpath"], flags)
                elif entry.get("mountNamespace"):
                    self.binds[position] = _clone_elsewhere(entry["mountNamespace"], entry["source"], flags)
                else:
                    self.binds[position] = mount.open_tree(libc.AT_FDCWD, entry["source"], flags)
                if wanted.idmap or entry.get("uidMappings"):
                    self._show(position, entry, recursive=wanted.idmap_recursive)

    def _show(self, position: int, entry: Spec, *, recursive: bool) -> None:
        """A bind's files by the container's users, or by mappings of the mount's own."""
        namespace = self.user
        if entry.get("uidMappings"):
            own = usermap.parse(entry["uidMappings"]), usermap.parse(entry["gidMappings"])
            namespace = usermap.make(*own)[0]
        usermap.show(self.binds[position], namespace, entry["source"], recursive=recursive)
        if namespace != self.user:
            os.close(namespace)

    def _take_sysfs(self) -> None:
        """That of a network that belongs to others can't be mounted from the container's user namespace."""
        for position, entry in enumerate(self._spec["oci"].get("mounts") or ()):
            if entry.get("type") == "sysfs":
                self.binds[position] = mount.new_filesystem("sysfs", {"source": "sysfs"})

    def _take_images(self) -> None:
        for position, entry in enumerate(self._spec["oci"].get("mounts") or ()):
            layers = entry.get("rundlet_layers")
            if layers is not None:
                place = self._spec["rootfs"]["merged"]
                self.binds[position] = images.mount_layers(layers, entry.get("rundlet_subpath") or "", place)

    def open_namespaces(self) -> int:
        """Open the namespaces to be joined; returns the CLONE_* flags of those to be made. Raises: OSError."""
        flags = ns.CLONE_NEWNS
        self.namespaces = []
        for entry in self._spec["oci"].get("linux", {}).get("namespaces") or ():
            kind, path = entry["type"], entry.get("path")
            if kind in ("mount", "network", "cgroup", "user"):
                continue
            if not path:
                flags |= ns.FLAGS[kind]
            elif kind == "pid":
                self.pid_namespace = self._open(path)
            else:
                self.namespaces.append((self._open(path), ns.FLAGS[kind]))
        return flags

    def _open(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _mount_rootfs(self, rootfs: Spec) -> None:
        if "path" in rootfs:
            fd = mount.open_tree(libc.AT_FDCWD, rootfs["path"], mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE)
            where = rootfs["path"]
        else:
            fd = self._overlay(rootfs["lower"], rootfs["upper"], rootfs["work"])
            where = rootfs["merged"]
        mount.move_mount(fd, libc.AT_FDCWD, where)
        self.rootfs, self.rootfs_fd = where, fd
        for item in rootfs.get("below") or ():
            inner = mount.overlay(item["lower"], item["upper"], item["work"])
            target = path.open_in_root(fd, item["destination"], os.O_PATH | os.O_DIRECTORY)
            mount.move_mount(inner, target)
            os.close(target)
            os.close(inner)

    def _map_layers(self) -> None:
        """Show all layers, in our mount namespace, as the container's users'."""
        upper = self._spec["rootfs"].get("upper")
        if self.users is not None and upper:
            home = os.path.dirname(os.path.dirname(upper))
            tree = mount.open_tree(libc.AT_FDCWD, home, mount.OPEN_TREE_CLONE)
            usermap.show(tree, self.user, home)
            mount.attach(tree, home)

    def _overlay(self, lower: list[str], upper: str, work: str) -> int:
        if self.users is None:
            return mount.overlay(lower, upper, work)
        with usermap.acting_as(*self.users.root):
            return mount.overlay(lower, upper, work)

    def enter_users(self, process: Spec) -> int:
        """The last step before ``process`` is cloned, which begins in the root's directory then.

        Returns a copy of the root's mount, for init to attach there; -1: as it is.

        Raises: OSError.
        """
        if self.users is None:
            return -1
        tree = mount.open_tree(libc.AT_FDCWD, self.rootfs, mount.OPEN_TREE_CLONE | libc.AT_RECURSIVE)
        os.chdir(self.rootfs)
        self.users.enter(self.user, process)
        return tree

    def _fill_volumes(self) -> None:
        """First use of volumes: the image's content goes into those that are empty."""
        for position, entry in enumerate(self._spec["oci"].get("mounts") or ()):
            if entry.get("rundlet_copy_up"):
                with usermap.acting_as(*self.users.root) if self.users is not None else nullcontext():
                    copyup.fill(self.rootfs_fd, entry["destination"], self.binds[position])

    def _make_links(self, links: Sequence[Spec]) -> None:
        assert self._host is not None
        namespace = ns.open_namespace("self", "network")
        try:
            for link in links:
                make_link(self._host, link, namespace)
        finally:
            os.close(namespace)


def make_link(host: netlink.Netlink, link: Spec, namespace: int) -> None:
    """One interface in ``namespace``, still down, with its end or its parent where ``host`` is. Raises: OSError."""
    if link.get("kind"):
        uppers.create(
            host,
            link["kind"],
            link["name"],
            link["parent"],
            namespace,
            mac=link.get("mac") or None,
            mtu=link.get("mtu") or 0,
            mode=link.get("link_mode") or "",
            flag=link.get("link_flag") or "",
        )
        return
    for attempt in (1, 2):
        try:
            host.create_veth(
                link["host_name"],
                link["bridge"],
                namespace,
                link["name"],
                link.get("mac"),
                mtu=link.get("mtu") or 0,
                isolated=bool(link.get("isolated")),
                hairpin=bool(link.get("hairpin")),
                large=bool(link.get("large")),
            )
            return
        except OSError as exc:
            # Left over by a shim that was killed: the kernel takes a moment to remove it.
            if exc.errno != _EEXIST or attempt == 2:
                raise
            host.delete_link(link["host_name"], missing_ok=True)


def interface(link: Spec) -> netlink.Interface:
    """What is set on a link inside."""
    return netlink.Interface(link["name"], tuple(link.get("addresses") or ()), link.get("mtu") or 0)


def ways_out(routes: Sequence[Spec] | None) -> list[netlink.DefaultRoute]:
    """The default routes, the only ones that there are: one for each family at most."""
    return [
        netlink.DefaultRoute(
            route.get("gateway") or "",
            route.get("interface") or "",
            socket.AF_INET6 if ":" in (route.get("dst") or "") else socket.AF_INET,
        )
        for route in routes or ()
    ]


def write_sysctls(wanted: Spec | None) -> None:
    """In our network namespace. Raises: OSError."""
    for key, value in (wanted or {}).items():
        _write_sysctl(key, value)


def _clone_elsewhere(namespace: str, path: str, flags: int) -> int:
    """A clone of a mount of another container (its /dev/shm), which is in another mount namespace."""
    other = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    back = ns.open_namespace("self", "mount")
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        libc.setns(other, ns.CLONE_NEWNS)
        try:
            return mount.open_tree(libc.AT_FDCWD, path, flags | libc.AT_SYMLINK_NOFOLLOW)
        finally:
            libc.setns(back, ns.CLONE_NEWNS)
            # That led to the namespace's root, which is outside where the engine is in a chroot.
            os.fchdir(root)
            os.chroot(".")
    finally:
        for fd in (other, back, root):
            os.close(fd)


def _write_sysctl(key: str, value: str) -> None:
    """In our network namespace, through the host's own procfs."""
    name = f"/proc/sys/{sysctl_path(key)}"
    fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        mount.require_filesystem(fd, mount.PROC_SUPER_MAGIC, name)
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


def remove_links(links: Sequence[Spec]) -> None:
    """Remove the host's ends, which would stay for as long as anybody is in the namespace. Never raises."""
    if not links:
        return
    with netlink.Netlink() as host:
        for link in links:
            try:
                if link.get("host_name"):
                    host.delete_link(link["host_name"], missing_ok=True)
            except OSError:
                pass  # it goes with the namespace
