"""The options of every log driver, with Docker's refusals. What is only known at start is in ``plan``."""

import os
from collections.abc import Mapping
from typing import Final

from rundlet.api.container_config import LogConfig
from rundlet.engine.logdrivers.addresses import Address, parse_address
from rundlet.errors import InvalidParameterError, NotSupportedError

JSON_FILE: Final = "json-file"
LOCAL: Final = "local"
NONE: Final = "none"
SYSLOG: Final = "syslog"
JOURNALD: Final = "journald"

_DELIVERY: Final = frozenset({"mode", "max-buffer-size"})
_CACHE: Final = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_FILES: Final = frozenset({"max-size", "max-file", "compress"})
_ATTRIBUTES: Final = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_OPTIONS: Final[dict[str, frozenset[str]]] = {
    JSON_FILE: _FILES | _ATTRIBUTES | _DELIVERY,
    LOCAL: _FILES | _DELIVERY,
    NONE: frozenset(),
    JOURNALD: _ATTRIBUTES | _DELIVERY | _CACHE,
    SYSLOG: _ATTRIBUTES
    | _DELIVERY
    | _CACHE
    | {
        "syslog-address",
        "syslog-facility",
        "syslog-format",
        "syslog-tls-ca-cert",
        "syslog-tls-cert",
        "syslog-tls-key",
        "syslog-tls-skip-verify",
    },
}
NAMES: Final = tuple(sorted(_OPTIONS))
# Docker's own, which this engine has not.
_FOREIGN: Final = frozenset({"awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk", "logentries"})
_FACILITIES: Final = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - - "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()
_DAEMON: Final = 3
_FORMATS: Final = ("", "rfc3164", "rfc5424", "rfc5424micro")
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_DECIMAL: Final = {"b": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_BINARY: Final = {unit: 1024**power for power, unit in enumerate(("b", "k", "m", "g", "t", "p"))}


class UnknownDriverError(InvalidParameterError):
    """No driver has that name, and no plugin can be asked."""

    reason = "unknown-log-driver"

    def __init__(self, name: str) -> None:
        super().__init__(f'error looking up logging plugin {name}: plugin "{name}" not found')


def check(config: LogConfig) -> None:
    """A request's driver and options. Raises InvalidParameterError, NotSupportedError."""
    driver, options = config.type or JSON_FILE, config.config or {}
    if driver in _FOREIGN:
        raise NotSupportedError(f"log driver {driver}")
    if driver not in _OPTIONS:
        raise UnknownDriverError(driver)
    _check_delivery(options)
    for name in sorted(options):
        if name not in _OPTIONS[driver]:
            where = "log driver local" if driver == LOCAL else f"{driver} log driver"
            raise InvalidParameterError(f"unknown log opt '{name}' for {where}")
    for name in ("cache-disabled", "cache-compress"):
        if name in options and options[name] not in _BOOLEANS:
            raise InvalidParameterError(f"invalid value for option {name}: {options[name]}")
    if driver == SYSLOG:
        address(options)
        facility(options)
        if options.get("syslog-format", "") not in _FORMATS:
            raise InvalidParameterError("Invalid syslog format")


def merged(config: LogConfig, default: LogConfig) -> LogConfig:
    """A request over the engine's default, whose options are for its driver only."""
    driver = config.type or default.type or JSON_FILE
    options = dict(config.config or {})
    if driver == (default.type or JSON_FILE):
        options = {**(default.config or {}), **options}
    return LogConfig(type=driver, config=options)


def _check_delivery(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "blocking")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameterError(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidParameterError("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        try:
            size(options["max-buffer-size"], binary=True)
        except InvalidParameterError as error:
            raise InvalidParameterError(f"error parsing option max-buffer-size: {error}") from None


def blocking(options: Mapping[str, str]) -> bool:
    return options.get("mode", "") != "non-blocking"


def cached(driver: str, options: Mapping[str, str]) -> bool:
    """Whether what goes to a service is also kept here, for ``logs``."""
    return driver in (SYSLOG, JOURNALD) and not _BOOLEANS.get(options.get("cache-disabled", "false"), False)


def address(options: Mapping[str, str]) -> Address:
    """Raises InvalidParameterError."""
    found = parse_address(options.get("syslog-address", ""))
    if found.network.startswith("unix"):
        try:
            os.stat(found.where)
        except OSError as error:
            raise InvalidParameterError(f"stat {found.where}: {(error.strerror or '').lower()}") from None
    return found


def facility(options: Mapping[str, str]) -> int:
    """Raises InvalidParameterError."""
    name = options.get("syslog-facility", "")
    if not name:
        return _DAEMON
    if name in _FACILITIES and name != "-":
        return _FACILITIES.index(name)
    if name.isdigit() and int(name) < len(_FACILITIES):
        return int(name)
    raise InvalidParameterError("invalid syslog facility")


def size(text: str, *, binary: bool = False) -> int:
    """``10m`` in bytes: 10⁷, or 10·2²⁰ where Docker counts so. Raises InvalidParameterError."""
    digits = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = digits[-1:] if digits[-1:] in _DECIMAL else "b"
    number = digits.removesuffix(unit).strip()
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not number or value < 0 or number[-1] == "." or not number[0].isdigit():
        raise InvalidParameterError(f"invalid size: '{text}'")
    return int(value * (_BINARY if binary else _DECIMAL)[unit])


def boolean(text: str) -> bool:
    """Raises InvalidParameterError with Go's words."""
    if text not in _BOOLEANS:
        raise InvalidParameterError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return _BOOLEANS[text]


def number(text: str) -> int:
    """Raises InvalidParameterError with Go's words."""
    try:
        return int(text)
    except ValueError:
        raise InvalidParameterError(f'strconv.Atoi: parsing "{text}": invalid syntax') from None
