"""Which networks a container asks for, and what doesn't go together, in Docker's words."""

import ipaddress
import re
from collections.abc import Mapping, Sequence

import msgspec

from rundlet.api.container_config import ContainerConfig, EndpointIPAMConfig, EndpointSettings, HostConfig
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.network.errors import InvalidAddressError, NetworkNotFoundError
from rundlet.network.joining import MAC
from rundlet.network.networks import DEFAULT_BRIDGE, Network
from rundlet.network.sandbox import Mode, parse_mode
from rundlet.network.service import NetworkService

Endpoints = Mapping[str, EndpointSettings | None]


class EndpointSettingsError(InvalidParameterError):
    """What a container asks of a network that doesn't have it: all of that at once."""

    reason = "invalid-endpoint"

    def __init__(self, problems: Sequence[str]) -> None:
        listed = problems if len(problems) == 1 else [f"* {problem}" for problem in problems]
        super().__init__("\n".join(("invalid endpoint settings:", *listed)))


class ConflictingOptionsError(InvalidParameterError):
    reason = "conflicting-options"

    def __init__(self, what: str) -> None:
        super().__init__(f"conflicting options: {what}")


def endpoints(
    service: NetworkService, host: HostConfig, given: Endpoints, config: ContainerConfig
) -> dict[str, EndpointSettings]:
    """The endpoints that a new container is recorded with, by network name.

    Raises ConflictingOptionsError, EndpointSettingsError, NotSupportedError.
    """
    mode = parse_mode(host.network_mode)
    if mode.kind != "network":
        if config.mac_address or any(settings and settings.mac_address for settings in given.values()):
            raise ConflictingOptionsError("mac-address and the network mode")
        for name, settings in given.items():
            if name != host.network_mode:
                raise ConflictingOptionsError("network-scoped settings with this network mode")
            network = _find(service, name)
            if network is not None and settings is not None:
                _check_new(network, settings)
        return {name: settings or EndpointSettings() for name, settings in given.items() if mode.kind != "container"}
    first = _name(service, mode.reference)
    if first == DEFAULT_BRIDGE and given:
        # Who names other networks alone gets those: the default one is for who names none.
        named = {_name(service, asked): None for asked in given}
        first = first if first in named else next(iter(named))
    found = {first: EndpointSettings()}
    for asked, settings in given.items():
        name = _name(service, asked)
        found[name] = settings or EndpointSettings()
        network = _find(service, name)
        if network is not None:
            _check_new(network, found[name])
            if network.driver in ("host", "null") and not network.config_only:
                raise InvalidParameterError(
                    "container cannot be connected to multiple networks with one of the networks in private (none) mode"
                )
    if config.mac_address and not found[first].mac_address:
        found[first] = msgspec.structs.replace(found[first], mac_address=config.mac_address)
        network = _find(service, first)
        if network is not None:
            _check_new(network, found[first])
    if host.links and first != DEFAULT_BRIDGE and not found[first].links:
        found[first] = msgspec.structs.replace(found[first], links=tuple(host.links))
    return found


def _find(service: NetworkService, name: str) -> Network | None:
    """An unknown network is an error of the start: clients would take "not found" here for the image."""
    try:
        return service.network(name)
    except NetworkNotFoundError:
        return None


def _name(service: NetworkService, asked: str) -> str:
    """The name of the network that ``asked`` (a name, or an id) means."""
    if asked == "default":
        return DEFAULT_BRIDGE
    network = _find(service, asked)
    return asked if network is None else network.name


def _check_new(network: Network, settings: EndpointSettings) -> None:
    """:func:`check` for a container that is being made, whose networks may be several. Raises what that raises."""
    try:
        check(network, settings)
    except (EndpointSettingsError, InvalidAddressError) as error:
        error.message = f"invalid config for network {network.name}: {error.message}"
        raise


def check(network: Network, settings: EndpointSettings) -> None:
    """Raises EndpointSettingsError, InvalidAddressError, NotSupportedError."""
    if settings.mac_address and not MAC.fullmatch(settings.mac_address):
        raise InvalidAddressError(f"invalid MAC address {settings.mac_address}")
    driver_options(settings)
    ipam = settings.ipam_config or EndpointIPAMConfig()
    chosen = {4: ipam.ipv4_address, 6: ipam.ipv6_address}
    problems = []
    if not network.has_names and any(chosen.values()):
        problems.append("user specified IP address is supported on user defined networks only")
    if not network.has_names and settings.aliases:
        problems.append("network-scoped alias is supported only for containers in user defined networks")
    problems += _address_problems(ipam)
    if any(address and not any(p.requested for p in network.pools(version)) for version, address in chosen.items()):
        problems.append(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    if problems:
        raise EndpointSettingsError(problems)
    if settings.links and not network.has_names:
        raise NotSupportedError("Links on the default bridge (--link)")


def _address_problems(ipam: EndpointIPAMConfig) -> Sequence[str]:
    problems = []
    for what, version, text in (
        ("IPv4 address", 4, ipam.ipv4_address),
        ("IPv6 address", 6, ipam.ipv6_address),
        *(("link-local IP address", 0, text) for text in ipam.link_local_ips or ()),
    ):
        try:
            good = not text or _means(ipaddress.ip_address(text), version)
        except ValueError:
            good = False
        if not good:
            problems.append(f"invalid {what}: {text}")
    return problems


def _means(address: ipaddress.IPv4Address | ipaddress.IPv6Address, version: int) -> bool:
    """Whether it is an address of a family (0: of a link, of either)."""
    if not version:
        return address.is_link_local
    return address.version == version and not (address.version == 6 and address.ipv4_mapped)


_INTERFACE = "com.docker.network.endpoint.ifname"
_SYSCTLS = "com.docker.network.endpoint.sysctls"
_SYSCTL = re.compile(r"net\.(?:ipv[46]|mpls)\.(?:conf|neigh)\.(?i:IFNAME)\.[a-z0-9_]+")
_NAME = re.compile(r"[^\s/:.]{1,15}")


def driver_options(settings: EndpointSettings) -> tuple[str, dict[str, str]]:
    """(name of the interface, its switches) of an endpoint's options. Raises InvalidParameterError, NotSupportedError.

    See: Docker's "com.docker.network.endpoint.*" labels.
    """
    interface, sysctls = "", {}
    for name, value in (settings.driver_opts or {}).items():
        if name == _INTERFACE:
            if not _NAME.fullmatch(value):
                raise InvalidParameterError(f"invalid interface name: {value}")
            interface = value
        elif name == _SYSCTLS:
            for one in value.split(","):
                key, equals, setting = one.strip().partition("=")
                if not equals or not _SYSCTL.fullmatch(key):
                    raise InvalidParameterError(
                        f"invalid config for {_SYSCTLS}: {one}: want net.X.Y.IFNAME.Z=value of ipv4, ipv6 or mpls"
                    )
                # Some clients write the whole option in small letters.
                sysctls[key.replace(".ifname.", ".IFNAME.")] = setting
        # Any other name is a label of its user, kept with the endpoint and shown by inspect.
    return interface, sysctls


def check_shared(config: ContainerConfig, host: HostConfig) -> list[str]:
    """A network that is somebody else's takes no settings. Returns warnings. Raises ConflictingOptionsError."""
    mode = parse_mode(host.network_mode)
    if mode.kind == "host":
        return _check_host(host)
    if mode.kind == "container":
        _check_container(mode, config, host)
    return []


def _check_host(host: HostConfig) -> list[str]:
    if host.links:
        raise ConflictingOptionsError(
            "host type networking can't be used with links. This would result in undefined behavior"
        )
    if host.port_bindings or host.publish_all_ports:
        return ["Published ports are discarded when using host network mode"]
    return []


def _check_container(mode: Mode, config: ContainerConfig, host: HostConfig) -> None:
    if host.links:
        raise ConflictingOptionsError(
            "container type network can't be used with links. This would result in undefined behavior"
        )
    if host.dns:
        raise ConflictingOptionsError("dns and the network mode")
    if host.extra_hosts:
        raise ConflictingOptionsError("custom host-to-IP mapping and the network mode")
    if config.mac_address:
        raise ConflictingOptionsError("mac-address and the network mode")
    if host.port_bindings or host.publish_all_ports:
        raise ConflictingOptionsError("port publishing and the container type network mode")
    if config.exposed_ports:
        raise ConflictingOptionsError("port exposing and the container type network mode")
