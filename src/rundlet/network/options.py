"""What the configuration says about networks, as this room needs it."""

import msgspec

from rundlet.network import ipam


class DaemonOptions(msgspec.Struct, frozen=True):
    """What daemon.json says about networks."""

    bip: str = ""
    """The default bridge's address and subnet; empty: the first pool that is free."""
    mtu: int = 1500
    pools: tuple[tuple[str, int], ...] = ()
    """What subnets are cut from; a family without any has its predefined ones."""
    ipv6: bool = False
    """The default bridge has IPv6, too."""
    fixed_cidr: str = ""
    """The part of the default bridge's subnet that addresses are chosen from."""
    fixed_cidr_v6: str = ""
    """The default bridge's IPv6 subnet."""
    gateway: str = ""
    """Where the default bridge's containers send what leaves; empty: to this host."""
    gateway_v6: str = ""
    binding: str = ""
    """The address that ports are published on where none is given; empty: all."""
    direct: bool = False
    """Other machines reach published ports at the containers' own addresses, too."""
    icc: bool = True
    masquerade: bool = True
    forwarding: bool = True
    """Turn the host's IP forwarding on."""
    forward_others: bool = False
    """Where we turned it on, other machines' packets are forwarded, too."""
    families: tuple[int, ...] = (4, 6)
    """Those in which the host's firewall is ours to fill."""
    bridge: str = ""
    """Somebody else's bridge for the network ``bridge``; empty: one of our own."""
    default_bridge: bool = True
    """There is a network ``bridge``; without it containers that choose none have no network."""
    host_gateways: tuple[str, ...] = ()
    """What ``host-gateway`` stands for; empty: the default bridge's address of this host."""
    defaults: dict[str, dict[str, str]] = {}
    """Options that new networks of a driver have unless they are given others."""

    def pools_of(self, instance: str, version: int) -> tuple[tuple[str, int], ...]:
        """What an engine cuts the subnets of one family (4 or 6) from, with the length of their prefix."""
        chosen = tuple(pool for pool in self.pools if (":" in pool[0]) == (version == 6))
        return chosen or (ipam.DEFAULT_POOLS if version == 4 else (ipam.local_pool(instance),))
