"""Clients keep their addresses where the proxy answers at every published port: an ordinary user's engine.

The proxy opens its connection to a container from the client's own address (IP_TRANSPARENT). The container's answers,
which are for somewhere beyond, must come back to the proxy then: what leaves from an address that isn't this network's
marks its connection, and what arrives for a marked one is routed as if every address were this network's.

A table of its own beside the engine's: a kernel that lacks a part of this does without all of it, and containers see
the bridge's address. Nothing of this is for the machine's own network.

See: Documentation/networking/tproxy.rst.
"""

import errno
import logging
import socket

from rundlet.linux import nft, nftexpr
from rundlet.linux.netlink import Netlink, everything_local_requests
from rundlet.linux.nft import Batch, Hook

_log = logging.getLogger(__name__)
_MARK = 0x72756E
_TABLE = 114
_AFTER_TRACKING = -150  # NF_IP_PRI_MANGLE: connections are known, nothing is routed yet


def keep(instance: str) -> bool:
    """Make it so in the calling process's network; False, and nothing of it, where the kernel can't."""
    batch = Batch(nft.FAMILY_INET, f"rundlet_{instance}_sources")
    batch.replace_table()
    batch.add_chain("leaving", Hook("filter", nft.HOOK_OUTPUT, _AFTER_TRACKING))
    batch.add_rule("leaving", nftexpr.source_is_foreign(), nftexpr.mark_connection(_MARK))
    batch.add_chain("arriving", Hook("filter", nft.HOOK_PREROUTING, _AFTER_TRACKING))
    batch.add_rule("arriving", nftexpr.connection_mark_is(_MARK), nftexpr.mark_packet(_MARK))
    try:
        _route(socket.AF_INET)
        with nft.Nft() as firewall:
            firewall.commit(batch)
    except OSError as error:
        _log.warning("containers see the bridge's address as their clients': %s", error)
        return False
    try:
        _route(socket.AF_INET6)
    except OSError as error:
        _log.debug("no IPv6 for clients' addresses: %s", error)  # there is none in this network
    return True


def _route(family: int) -> None:
    """Raises: OSError."""
    with Netlink() as rtnl:
        for request in everything_local_requests(family, _MARK, _TABLE, rtnl.index("lo")):
            try:
                rtnl.execute([request])
            except OSError as error:
                if error.errno != errno.EEXIST:  # of the engine before
                    raise
