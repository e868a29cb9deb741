"""Our own way out of an ordinary user's network, where the machine has neither pasta nor slirp4netns.

The process stays outside, with the machine's network. A child of a moment goes into the user's network namespace and
makes what it takes there: a TUN device that the default route goes by, a listening socket, and a rule that sends every
TCP connection that would leave by the device to that socket. The kernel then does all of TCP: a connection taken here
is one more to its true destination, outside. The rest comes as packets (:mod:`tun`).

A connection inside is made before the one outside: what can't be reached is reset, not refused. Only IPv4 leaves.
"""

import fcntl
import os
import resource
import signal
import socket
import struct
import sys
from typing import Final, NoReturn

from rundlet.daemon.rootless.tun import DEVICE, FLAGS, MTU, SET_INTERFACE, Packets
from rundlet.linux import libc, nft, nftexpr, ns
from rundlet.linux.loop import READ, Loop
from rundlet.linux.netlink import Netlink
from rundlet.network.proxy.relay import Relay
from rundlet.runtime import protocol

NAME: Final = "tap0"
ADDRESS: Final = "192.0.0.2"
"""Of the user's side. RFC 7335 keeps it for a host that has no IPv4 address otherwise: nobody's network has it."""
_TABLE: Final = "rundlet_way_out"
_BACKLOG: Final = 512
_AT_ONCE: Final = 16
_PAUSE: Final = 0.1
_SO_ORIGINAL_DST: Final = 80
_SO_LINGER: Final = struct.pack("=ii", 1, 0)


def main(arguments: list[str]) -> int:
    """``USER NETWORK READY``: descriptors of the two namespaces, and of a pipe that is closed when all is set up."""
    user, network, ready = map(int, arguments)
    libc.set_name("rundlet-wayout")
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    device, listening = _from_inside(user, network)
    loop = Loop()
    Packets(loop, device)
    Connections(loop, socket.socket(fileno=listening))
    os.close(ready)
    loop.run()
    return 0


class Connections:
    """Takes connections at ``listening`` and makes each of them again to where it was meant to go."""

    def __init__(self, loop: Loop, listening: socket.socket) -> None:
        self._loop = loop
        self._listening = listening
        self._own = listening.getsockname()
        self._relays: set[Relay] = set()
        listening.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._loop.add(self._listening.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _peer = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:
                # No descriptors left, or it went away: in a moment again.
                self._loop.remove(self._listening.fileno())
                self._loop.later(_PAUSE, self._listen)
                return
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _SO_LINGER)
            try:
                self._relays.add(Relay(self._loop, client, self._target(client), self._relays.discard))
            except OSError:
                client.close()

    def _target(self, client: socket.socket) -> tuple[str, int]:
        """Where it was meant to go. Raises: OSError for one that came straight to us."""
        found = client.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        _, port, address = struct.unpack_from("=H", found)[0], *struct.unpack_from(">H4s", found, 2)
        target = (socket.inet_ntoa(address), port)
        if target == self._own:
            raise OSError(22, "a connection to ourselves")
        return target


def _from_inside(user: int, network: int) -> tuple[int, int]:
    """The device and the socket, made by a child that joins the namespaces. Raises: OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _inside(user, network, theirs)
    theirs.close()
    with ours:
        said, fds = protocol.receive_packet(ours)
    os.waitpid(child, 0)
    if len(fds) != 2:
        raise OSError(5, said.decode(errors="replace") or "the way out could not be set up")
    return fds[0], fds[1]


def _inside(user: int, network: int, out: socket.socket) -> NoReturn:
    status = 1
    try:
        libc.setns(user, ns.CLONE_NEWUSER)
        libc.setns(network, ns.CLONE_NEWNET)
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(device, SET_INTERFACE, struct.pack("=16sH14x", NAME.encode(), FLAGS))
        with Netlink() as rtnl:
            rtnl.add_address(NAME, f"{ADDRESS}/32")
            rtnl.set_mtu(NAME, MTU)
            rtnl.set_up(NAME)
            rtnl.add_route("0.0.0.0/0", None, NAME)
        listening = socket.socket()
        listening.bind((ADDRESS, 0))
        listening.listen(_BACKLOG)
        _redirect(listening.getsockname()[1])
        protocol.send_packet(out, b"ok", [device, listening.fileno()])
        status = 0
    except OSError as exc:
        out.send(f"{exc.filename or 'the way out'}: {exc.strerror}".encode())
    finally:
        os._exit(status)


def _redirect(port: int) -> None:
    """TCP that would leave by the device goes to ``port``, from containers and from the namespace itself."""
    batch = nft.Batch(nft.FAMILY_IPV4, _TABLE)
    batch.replace_table()
    tcp = nftexpr.load_l4proto() + nftexpr.compare(bytes((socket.IPPROTO_TCP,)))
    # What is passed through has no way out yet where its destination can be changed; what is sent from here has.
    leaving = nftexpr.interface_is(nftexpr.load_oifname(), NAME)
    for chain, hook, match in (
        ("prerouting", nft.HOOK_PREROUTING, nftexpr.leaves_by(NAME)),
        ("output", nft.HOOK_OUTPUT, leaving),
    ):
        batch.add_chain(chain, nft.Hook("nat", hook, nft.PRIORITY_DSTNAT))
        batch.add_rule(chain, tcp, match, nftexpr.dnat_ipv4_to(ADDRESS, port))
    with nft.Nft() as here:
        here.commit(batch)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
