"""What the shim changes in the network of a container that runs: interfaces come and go.

The shim has one thread, so it may enter the container's network namespace for a moment.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rundlet.linux import libc, netlink, ns
from rundlet.runtime.shim import resolver, sandbox
from rundlet.runtime.shim.resolver import ResolverFds

Spec = Mapping[str, Any]
T = TypeVar("T")


def attach(network: int, change: Spec) -> None:
    """One more interface: ``link``, ``sysctls``, and the ``routes`` from now on. Raises: OSError.

    ``network`` is the descriptor of the container's namespace; the caller is in the host's.
    """
    link = change["link"]
    with netlink.Netlink() as host:
        sandbox.make_link(host, link, network)

    def configure() -> None:
        sandbox.write_sysctls(change.get("sysctls"))
        with netlink.Netlink() as inside:
            inside.configure_sandbox([sandbox.interface(link)])
            inside.set_default_routes(sandbox.ways_out(change.get("routes")))

    try:
        inside_of(network, configure)
    except OSError:
        with netlink.Netlink(network) as inside:
            inside.delete_link(link["name"], missing_ok=True)
        raise


def detach(network: int, change: Spec) -> None:
    """One interface (``name``) less, and other ``routes``; one that is gone is fine. Raises: OSError."""
    with netlink.Netlink(network) as inside:
        inside.delete_link(change["name"], missing_ok=True)
        inside.set_default_routes(sandbox.ways_out(change.get("routes")))


def open_resolver(network: int) -> ResolverFds:
    """Raises: OSError."""
    return inside_of(network, resolver.open_sockets)


def inside_of(network: int, do: Callable[[], T]) -> T:
    """``do()`` in another network namespace. Raises: OSError, and what ``do`` raises."""
    home = ns.open_namespace("self", "network")
    try:
        libc.setns(network, ns.CLONE_NEWNET)
        try:
            return do()
        finally:
            libc.setns(home, ns.CLONE_NEWNET)
    finally:
        os.close(home)
