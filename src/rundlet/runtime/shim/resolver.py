"""The sandbox's part of name look-up: sockets on 127.0.0.11 in its network namespace, handed to the resolver.

They are on random ports, with a redirect from port 53 in the namespace, so that a program of the container can bind
port 53 on all addresses. The shim keeps them: when the resolver has ended, the engine names the next one.
"""

import array
import json
import os
import socket
from typing import Final, NamedTuple

from rundlet.linux import nft, nftexpr

_ADDRESS: Final = "127.0.0.11"
_PORT: Final = 53
_TABLE: Final = "rundlet_names"
_BACKLOG: Final = 64
_EEXIST: Final = 17


class ResolverFds(NamedTuple):
    """``connection`` tells the resolver, by its end, that the sandbox is gone; -1: there is no resolver now."""

    udp: int
    tcp: int
    connection: int = -1

    def close(self) -> None:
        for fd in self:
            if fd >= 0:
                os.close(fd)


def open_sockets() -> ResolverFds:
    """In the sandbox's network namespace, with lo up. Raises: OSError."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with udp, tcp:
        udp.bind((_ADDRESS, 0))
        tcp.bind((_ADDRESS, 0))
        tcp.listen(_BACKLOG)
        _redirect(udp.getsockname()[1], tcp.getsockname()[1])
        return ResolverFds(udp.detach(), tcp.detach())


def hand_over(fds: ResolverFds, network: int, path: str, container_id: str) -> ResolverFds:
    """Give the sockets, and the namespace ``network``, to the resolver at ``path``; the same with a new connection."""
    if fds.connection >= 0:
        os.close(fds.connection)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    rights = array.array("i", (fds.udp, fds.tcp, network)).tobytes()
    hello = json.dumps({"id": container_id}).encode()
    try:
        connection.connect(path)
        connection.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_NOSIGNAL)
    except OSError:
        connection.close()  # The engine says where the next one is.
        return fds._replace(connection=-1)
    return fds._replace(connection=connection.detach())


def _redirect(udp_port: int, tcp_port: int) -> None:
    """In this namespace, 127.0.0.11:53 is those two ports."""
    with nft.Nft() as here:
        try:
            here.commit(_rules(udp_port, tcp_port, new=True))
        except OSError as exc:
            if exc.errno != _EEXIST:
                raise
            here.commit(_rules(udp_port, tcp_port, new=False))


def _rules(udp_port: int, tcp_port: int, *, new: bool) -> nft.Batch:
    batch = nft.Batch(nft.FAMILY_IPV4, _TABLE)
    if new:
        # Not replaced: to close the socket after a deletion, the kernel waits until no processor can see what was
        # deleted, ten milliseconds of a container's start.
        batch.add_table(new=True)
    else:
        batch.replace_table()
    batch.add_chain("output", nft.Hook("nat", nft.HOOK_OUTPUT, nft.PRIORITY_DSTNAT))
    resolver = nftexpr.load_ipv4_daddr() + nftexpr.compare(socket.inet_aton(_ADDRESS))
    port = nftexpr.load_dport() + nftexpr.compare(_PORT.to_bytes(2, "big"))
    for protocol, target in ((socket.IPPROTO_UDP, udp_port), (socket.IPPROTO_TCP, tcp_port)):
        kind = nftexpr.load_l4proto() + nftexpr.compare(bytes((protocol,)))
        batch.add_rule("output", resolver, kind, port, nftexpr.dnat_ipv4_to(_ADDRESS, target))
    return batch
