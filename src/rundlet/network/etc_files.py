"""The text of a container's /etc/hosts, /etc/hostname and /etc/resolv.conf, as Docker makes them."""

import ipaddress
from collections.abc import Sequence

import msgspec

from rundlet.network.errors import InvalidAddressError

FALLBACK_NAMESERVERS = ("8.8.8.8", "8.8.4.4")
HOST_GATEWAY = "host-gateway"

_RESOLV_CONF = "/etc/resolv.conf"
_SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"
_SYSTEMD_STUB = "127.0.0.53"

_LOCALHOST = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


class HostEntry(msgspec.Struct, frozen=True):
    """One ``--add-host``: a name and the address it stands for."""

    name: str
    address: str


class ResolverOptions(msgspec.Struct, frozen=True):
    """``--dns``, ``--dns-search``, ``--dns-option``; empty: as the host has it."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_extra_host(value: str, gateways: Sequence[str]) -> list[HostEntry]:
    """``name:address`` or ``name=address``; ``host-gateway`` stands for each of ``gateways``. Raises
    InvalidAddressError."""
    separator = "=" if "=" in value else ":"
    name, found, address = value.partition(separator)
    if not found or not name:
        raise InvalidAddressError(f'bad format for add-host: "{value}"')
    if address == HOST_GATEWAY:
        if not gateways:
            raise InvalidAddressError("unable to derive the IP value for host-gateway")
        return [HostEntry(name, gateway) for gateway in gateways]
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        return [HostEntry(name, str(ipaddress.ip_address(bare)))]
    except ValueError as exc:
        raise InvalidAddressError(f'invalid IP address in add-host: "{address}"') from exc


def hosts(
    addresses: Sequence[str], hostname: str, *, domain: str = "", extra: Sequence[HostEntry] = (), ipv6: bool = True
) -> str:
    """/etc/hosts: the local names, ``extra`` and a line for each of the container's own ``addresses``."""
    names = own_names(hostname, domain)
    local = [(address, name) for address, name in _LOCALHOST if ipv6 or ":" not in address]
    lines = [*local, *((entry.address, entry.name) for entry in extra)]
    lines += [(address, names) for address in addresses]
    return "".join(f"{address}\t{name}\n" for address, name in lines)


def own_names(hostname: str, domain: str) -> str:
    """A container's names in its /etc/hosts: the full one, and its first part where that is another."""
    full = f"{hostname}.{domain}" if domain else hostname
    first, dot, _ = full.partition(".")
    return f"{full} {first}" if dot and first else full


def host_network_hosts(host_text: str, extra: Sequence[HostEntry]) -> str:
    """/etc/hosts of a container in the host's network: the host's own, and ``extra``."""
    text = host_text if not host_text or host_text.endswith("\n") else host_text + "\n"
    return text + "".join(f"{entry.address}\t{entry.name}\n" for entry in extra)


def hostname(name: str) -> str:
    """/etc/hostname."""
    return f"{name}\n"


def read_host_resolv_conf() -> str:
    """The host's resolver configuration; systemd-resolved's real one where /etc has only its stub on loopback."""
    text = _read(_RESOLV_CONF)
    if _nameservers(text) == [_SYSTEMD_STUB]:
        return _read(_SYSTEMD_RESOLV_CONF) or text
    return text


def host_nameservers() -> list[str]:
    """The resolvers that the host uses, for keeping our subnets off them."""
    return _nameservers(read_host_resolv_conf())


def resolv_conf(host_text: str, chosen: ResolverOptions, *, own_loopback: bool = True, ipv6: bool = False) -> str:
    """/etc/resolv.conf from the host's and what the user chose.

    ``own_loopback``: the container has a loopback of its own, so the host's resolvers on 127.0.0.0/8 are out of reach;
    with none left Docker's public ones are named. ``ipv6``: it reaches the world by IPv6. Raises InvalidAddressError.
    """
    nameservers = list(chosen.nameservers)
    for server in nameservers:
        _check_address(server)
    if not nameservers:
        nameservers = _nameservers(host_text)
        if own_loopback:
            nameservers = [server for server in nameservers if not _unreachable(server, ipv6=ipv6)] or list(
                FALLBACK_NAMESERVERS
            )
    search = list(chosen.search) or _last(host_text, ("search", "domain"))
    options = list(chosen.options) or _last(host_text, ("options",))
    if search == ["."]:
        search = []
    lines = [f"nameserver {server}" for server in nameservers]
    if search:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def internal_resolv_conf(host_text: str, chosen: ResolverOptions) -> str:
    """/etc/resolv.conf of a container that asks our resolver: 127.0.0.11 and, beside the options, ``ndots:0``.

    Raises InvalidAddressError.
    """
    for server in chosen.nameservers:
        _check_address(server)
    search = list(chosen.search) or _last(host_text, ("search", "domain"))
    options = list(chosen.options) or _last(host_text, ("options",))
    if not any(option.startswith("ndots:") for option in options):
        options.append("ndots:0")
    lines = ["nameserver 127.0.0.11"]
    if search and search != ["."]:
        lines.append(f"search {' '.join(search)}")
    lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)


def forward_to(host_text: str, chosen: ResolverOptions) -> list[str]:
    """The resolvers behind ours: the chosen ones, else the host's, else Docker's public ones."""
    return list(chosen.nameservers) or _nameservers(host_text) or list(FALLBACK_NAMESERVERS)


def dots_wanted(host_text: str, chosen: ResolverOptions) -> bool:
    """Whether somebody asked for ``ndots``, and for one at least: a name without a dot is not a whole one then."""
    options = list(chosen.options) or _last(host_text, ("options",))
    found = [option.removeprefix("ndots:") for option in options if option.startswith("ndots:")]
    return bool(found) and found[-1].isdigit() and int(found[-1]) > 0


def with_entry(hosts_text: str, entry: HostEntry) -> str:
    """/etc/hosts with ``entry``'s names at its address; the line that had these names before is where it goes."""
    new = f"{entry.address}\t{entry.name}\n"
    lines = hosts_text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if line.split()[1:] == entry.name.split():
            return "".join([*lines[:number], new, *lines[number + 1 :]])
    return hosts_text + new


def without_entry(hosts_text: str, entry: HostEntry) -> str:
    """/etc/hosts without the line that has exactly these names."""
    lines = hosts_text.splitlines(keepends=True)
    return "".join(line for line in lines if line.split()[1:] != entry.name.split())


def with_address(hosts_text: str, address: str, names: str) -> str:
    """/etc/hosts with one more line for the container itself."""
    text = hosts_text if not hosts_text or hosts_text.endswith("\n") else hosts_text + "\n"
    return f"{text}{address}\t{names}\n"


def without_address(hosts_text: str, address: str) -> str:
    """/etc/hosts without the lines of an address."""
    lines = hosts_text.splitlines(keepends=True)
    return "".join(line for line in lines if line.split()[:1] != [address])


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _fields(text: str) -> list[list[str]]:
    lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith(("#", ";")))
    return [fields for fields in lines if len(fields) > 1]


def _nameservers(text: str) -> list[str]:
    return [fields[1] for fields in _fields(text) if fields[0] == "nameserver"]


def _last(text: str, keywords: Sequence[str]) -> list[str]:
    """The values of the last line of its kind, which is the one that resolvers heed."""
    found: list[str] = []
    for fields in _fields(text):
        if fields[0] in keywords:
            found = fields[1:]
    return found


def _unreachable(server: str, *, ipv6: bool) -> bool:
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return True
    # Without an IPv6 route such a resolver would only cost a time-out for every look-up; a link-local one means nothing
    # away from its link.
    return address.is_loopback or address.is_link_local or (address.version == 6 and not ipv6)


def _check_address(server: str) -> None:
    try:
        ipaddress.ip_address(server)
    except ValueError as exc:
        raise InvalidAddressError(f"invalid IP address: {server}") from exc
