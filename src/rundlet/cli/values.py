"""Converters for the less common kinds of flags, with Docker's and Go's sentences for bad ones.

Each takes the flag's text and returns its value, or raises ValueError.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
ULIMITS = frozenset(
    ("as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack").split()
)


def go_float(text: str) -> float:
    """Go's strconv.ParseFloat on a plain decimal. Raises ValueError with its sentence."""
    try:
        if not text or text != text.strip() or "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": invalid syntax') from None


def size_in_bytes(text: str) -> int:
    """``64m``, ``1.5GiB``, ``1024``: binary units, as go-units' RAMInBytes."""
    last = max((index for index, letter in enumerate(text) if letter in "0123456789. "), default=-1)
    if last < 0:
        raise ValueError(f"invalid size: '{text}'")
    number, suffix = text[: last + 1], text[last + 1 :].lower()
    size = go_float(number.removesuffix(" "))
    if size < 0:
        raise ValueError(f"invalid size: '{text}'")
    if not suffix or suffix == "b":
        return int(size)
    tail = suffix[1:]
    if suffix[0] not in _BINARY or tail not in ("", "b", "ib"):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(size * _BINARY[suffix[0]])


def swap_in_bytes(text: str) -> int:
    """As :func:`size_in_bytes`, or -1 for no limit."""
    return -1 if text == "-1" else size_in_bytes(text)


def nano_cpus(text: str) -> int:
    """A decimal number of CPUs in billionths."""
    from fractions import Fraction

    try:
        if text != text.strip() or "_" in text:
            raise ValueError
        nano = Fraction(text) * 1_000_000_000
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"failed to parse {text} as a rational number") from None
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return int(nano)


def duration_ns(text: str) -> int:
    """Go's time.ParseDuration: ``1h30m``, ``1.5s``, ``300ms``; nanoseconds."""
    invalid = ValueError(f'time: invalid duration "{text}"')
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return 0
    if not rest:
        raise invalid
    total = 0
    while rest:
        end = 0
        while end < len(rest) and rest[end] in "0123456789.":
            end += 1
        number, rest = rest[:end], rest[end:]
        if not number or number == "." or number.count(".") > 1:
            raise invalid
        end = 0
        while end < len(rest) and rest[end] not in "0123456789.":
            end += 1
        unit, rest = rest[:end], rest[end:]
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _UNITS_NS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        whole, _, fraction = number.partition(".")
        scale = _UNITS_NS[unit]
        total += int(whole or "0") * scale + int(fraction or "0") * scale // 10 ** len(fraction)
    if total >= 1 << 63:
        raise invalid
    return sign * total


def key_value(text: str) -> tuple[str, str]:
    """``key=value`` for flags that make a map (--sysctl, --annotation, --opt)."""
    key, _, value = text.partition("=")
    return key, value


def environment_variable(text: str) -> str:
    """``KEY=value`` or ``KEY``."""
    if not text.partition("=")[0]:
        raise ValueError(f"invalid environment variable: {text}")
    return text


def label(text: str) -> str:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def extra_host(text: str) -> str:
    """``name:address`` of --add-host (also ``name=address`` and bracketed IPv6)."""
    from rundlet.cli.options.ports import is_address

    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != "host-gateway" and not is_address(address):
        raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def link(text: str) -> str:
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def ip_address(text: str) -> str:
    from rundlet.cli.options.ports import is_address

    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def search_domain(text: str) -> str:
    """A domain of --dns-search; ``.`` stands for none."""
    text = text.strip(" ")
    if text == ".":
        return text
    name = text.removesuffix(".")
    labels = name.split(".")
    hyphens = any(label.startswith("-") or label.endswith("-") for label in labels)
    plain = all(label and label.replace("-", "x").isascii() and label.replace("-", "x").isalnum() for label in labels)
    if not plain or hyphens or name.replace(".", "").replace("-", "").isdigit() or len(name) > 254:
        raise ValueError(f"{text} is not a valid domain")
    return name


def device_rule(text: str) -> str:
    """``c 1:* rwm`` of --device-cgroup-rule."""
    import re

    if not re.fullmatch(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}", text):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def stream(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced".split()
)


def sysctl(text: str) -> tuple[str, str]:
    """``net.ipv4.ip_forward=1``: only what has a namespace of its own."""
    name, equals, value = text.partition("=")
    if not equals or not (name in SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def string_pairs(text: str) -> list[tuple[str, str]]:
    """``A=b,C=d``."""
    fields = [text.strip('"')] if text.count("=") == 1 else string_slice(text) or [text]
    for field in fields:
        if "=" not in field:
            raise ValueError(f"{field} must be formatted as key=value")
    return [(field.partition("=")[0], field.partition("=")[2]) for field in fields]


def string_slice(text: str) -> list[str]:
    """``a,b``: pflag's StringSlice splits at commas."""
    from rundlet.cli.options.mounts import split_csv

    return split_csv(text) if text else []


def filter_pair(text: str) -> tuple[str, str]:
    """``name=value`` of --filter; the name in lower case."""
    if "=" not in text:
        raise ValueError("bad format of filter (expected name=value)")
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip()


def ulimit(text: str) -> dict[str, Any]:
    """``nofile=1024:2048`` as the API has it."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    parts = limits.split(":")
    if len(parts) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    numbers = []
    for part in parts:
        try:
            numbers.append(int(part))
        except ValueError:
            raise ValueError(f'strconv.ParseInt: parsing "{part}": invalid syntax') from None
    soft, hard = numbers[0], numbers[-1]
    if hard != -1 and (soft == -1 or soft > hard):
        raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Hard": hard, "Soft": soft}


def mount(text: str) -> dict[str, Any]:
    from rundlet.cli.options.mounts import parse_mount

    return parse_mount(text)


def network(text: str) -> dict[str, Any]:
    from rundlet.cli.options.networks import parse_network

    return parse_network(text)


def byte_rate(text: str) -> dict[str, Any]:
    from rundlet.cli.options.devices import throttle

    return throttle(text, sizes=True)


def operation_rate(text: str) -> dict[str, Any]:
    from rundlet.cli.options.devices import throttle

    return throttle(text, sizes=False)


def device_weight(text: str) -> dict[str, Any]:
    from rundlet.cli.options.devices import weight

    return weight(text)


def gpu_request(text: str) -> dict[str, Any]:
    from rundlet.cli.options.devices import parse_gpus

    return parse_gpus(text)


CONVERTERS: dict[str, Callable[[str], Any]] = {
    "bytes": size_in_bytes,
    "swap": swap_in_bytes,
    "decimal": nano_cpus,
    "duration": duration_ns,
    "map": key_value,
    "filter": filter_pair,
    "ulimit": ulimit,
    "strings": string_slice,
    "stringToString": string_pairs,
    "env": environment_variable,
    "label": label,
    "host": extra_host,
    "stream": stream,
    "link": link,
    "address": ip_address,
    "domain": search_domain,
    "device-rule": device_rule,
    "sysctl": sysctl,
    "byte-rate": byte_rate,
    "operation-rate": operation_rate,
    "device-weight": device_weight,
    "mount": mount,
    "network": network,
    "gpu-request": gpu_request,
}
