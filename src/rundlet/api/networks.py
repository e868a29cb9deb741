"""Networks: answers of list, inspect, create, prune, and bodies of create, connect, disconnect."""

from msgspec import field

from rundlet.api.base import ZERO_TIME, Labels, Options, Wire, always, always_map, optional_map
from rundlet.api.container_config import EndpointSettings
from rundlet.api.filters import Filters


class IPAMConfig(Wire, frozen=True):
    """One pool, in CIDR notation, with the addresses reserved in it by name."""

    subnet: str = ""
    ip_range: str = field(name="IPRange", default="")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] = optional_map()


class IPAM(Wire, frozen=True):
    driver: str = always("")
    options: dict[str, str] | None = always(None)
    config: tuple[IPAMConfig, ...] | None = always(())


class ConfigReference(Wire, frozen=True):
    network: str = always("")


class NetworkContainer(Wire, frozen=True):
    """A container on the network; addresses carry their prefix length."""

    name: str = always("")
    endpoint_id: str = always("", name="EndpointID")
    mac_address: str = always("")
    ipv4_address: str = always("", name="IPv4Address")
    ipv6_address: str = always("", name="IPv6Address")


class Network(Wire, frozen=True):
    """``containers`` is filled by inspect and empty in lists."""

    name: str = always("")
    id: str = always("")
    created: str = always(ZERO_TIME)
    scope: str = always("local")
    driver: str = always("")
    enable_ipv4: bool = always(True, name="EnableIPv4")
    enable_ipv6: bool = always(False, name="EnableIPv6")
    ipam: IPAM = always(IPAM(), name="IPAM")
    internal: bool = always(False)
    attachable: bool = always(False)
    ingress: bool = always(False)
    config_from: ConfigReference = always(ConfigReference())
    config_only: bool = always(False)
    containers: dict[str, NetworkContainer] = always_map()
    options: dict[str, str] | None = always_map()
    labels: Labels | None = always_map()


class NetworkCreate(Wire, frozen=True):
    """Body of ``POST /networks/create``; ``check_duplicate`` is what clients before 1.44 send, and always done."""

    name: str = always("")
    check_duplicate: bool = False
    driver: str = always("")
    scope: str = always("")
    enable_ipv4: bool | None = field(name="EnableIPv4", default=None)
    enable_ipv6: bool | None = field(name="EnableIPv6", default=None)
    ipam: IPAM | None = always(None, name="IPAM")
    internal: bool = always(False)
    attachable: bool = always(False)
    ingress: bool = always(False)
    config_only: bool = always(False)
    config_from: ConfigReference | None = always(None)
    options: dict[str, str] | None = always(None)
    labels: Labels | None = always(None)


class NetworkCreated(Wire, frozen=True):
    id: str = always("")
    warning: str = always("")


class NetworkConnect(Wire, frozen=True):
    container: str = always("")
    endpoint_config: EndpointSettings | None = None


class NetworkDisconnect(Wire, frozen=True):
    container: str = always("")
    force: bool = always(False)


class NetworksPruned(Wire, frozen=True):
    networks_deleted: tuple[str, ...] | None = always(None)


class NetworkListOptions(Options, frozen=True):
    filters: Filters = Filters()


class NetworkInspectOptions(Options, frozen=True):
    """``scope``: swarm, global, local, or empty for any."""

    verbose: bool = False
    scope: str = ""
