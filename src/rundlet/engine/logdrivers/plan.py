"""From a container's log options to what its shim writes and what its logger delivers; known at each start.

Files are written by the shim itself. What goes to a service, or must not make the container wait for the disk
(``mode=non-blocking``), goes through a logger, a process of its own. A log that nobody limited is limited by us: five
files of 20 MB (``max-size=-1`` takes the limit away); Docker's json-file grows until the disk is full.
"""

import asyncio
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rundlet.api.container_config import LogConfig
from rundlet.engine.logdrivers import options as known
from rundlet.engine.logdrivers.addresses import Address
from rundlet.engine.logdrivers.attributes import Subject, attributes, tag
from rundlet.engine.logdrivers.options import JOURNALD, JSON_FILE, LOCAL, NONE, SYSLOG
from rundlet.engine.logdrivers.places import readable_path
from rundlet.errors import InternalError, InvalidParameterError

DEFAULT_SIZE: Final = 20_000_000
DEFAULT_FILES: Final = 5
UNLIMITED: Final = "-1"
_BUFFER: Final = 1 << 20
_DIAL_SECONDS: Final = 5.0
_JOURNAL: Final = "/run/systemd/journal/socket"
_SYSLOGS: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")


class LogDriverError(InternalError):
    """The driver can't do what its options ask for."""

    reason = "log-driver-failed"

    def __init__(self, why: object) -> None:
        super().__init__(f"failed to initialize logging driver: {why}")


@dataclass(frozen=True, slots=True)
class LogPlan:
    """``section`` is the shim's; ``logger`` the settings of the process beside it, None where none is needed."""

    section: dict[str, Any]
    logger: dict[str, Any] | None = None


def plan(config: LogConfig, subject: Subject, directory: str) -> LogPlan:
    """Raises LogDriverError."""
    driver, options = config.type or JSON_FILE, config.config or {}
    if driver == NONE:
        return LogPlan({"driver": NONE})
    try:
        path = readable_path(config, directory, subject.id)
        if driver in (JSON_FILE, LOCAL):
            return _to_file(driver, options, subject, path)
        return _to_service(driver, options, subject, path)
    except InvalidParameterError as error:
        raise LogDriverError(error) from None


async def probe(config: LogConfig) -> None:
    """Whether the service is there, as Docker asks before a start. Raises LogDriverError."""
    driver, options = config.type, config.config or {}
    if driver == JOURNALD and not _is_socket(_JOURNAL):
        raise LogDriverError("journald is not enabled on this host")
    if driver == SYSLOG:
        try:
            where = known.address(options)
        except InvalidParameterError as error:
            raise LogDriverError(error) from None
        await _probe_syslog(where)


async def _probe_syslog(where: Address) -> None:
    if not where.network and not any(_is_socket(path) for path in _SYSLOGS):
        raise LogDriverError("Unix syslog delivery error")
    if not where.network.startswith("tcp"):
        return
    host, _, port = where.where.rpartition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), int(port)), _DIAL_SECONDS)
    except TimeoutError:
        raise LogDriverError(f"dial tcp {where.where}: i/o timeout") from None
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        raise LogDriverError(f"dial tcp {where.where}: connect: {why}") from None
    writer.close()


def _to_file(driver: str, options: Mapping[str, str], subject: Subject, path: str) -> LogPlan:
    file = _limits(options, compress=driver == LOCAL) | {"path": path}
    if driver == JSON_FILE:
        file["attributes"] = attributes(subject, options) | _named_tag(options, subject)
    if known.blocking(options):
        return LogPlan({"driver": JSON_FILE} | file)
    return LogPlan({"driver": NONE}, _delivery(options, subject) | {"driver": "file", "file": file})


def _to_service(driver: str, options: Mapping[str, str], subject: Subject, path: str) -> LogPlan:
    extra = attributes(subject, options)
    section: dict[str, Any] = {"driver": NONE}
    if path:
        cache = {name.removeprefix("cache-"): value for name, value in options.items() if name.startswith("cache-")}
        kept = extra | _named_tag(options, subject)
        section = {"driver": JSON_FILE, "path": path, "attributes": kept} | _limits(cache, compress=True)
    label = tag(subject, options.get("tag") or "{{.ID}}")
    logger = _delivery(options, subject) | {"driver": driver, "tag": label}
    if driver == JOURNALD:
        logger |= {"journald": {"socket": _JOURNAL}, "fields": _fields(subject, label, extra)}
    else:
        where = known.address(options)
        logger["syslog"] = {
            "network": where.network,
            "address": where.where,
            "facility": known.facility(options),
            "format": options.get("syslog-format", ""),
            "tls": _tls(options) if where.network == "tcp+tls" else {},
        }
    return LogPlan(section, logger)


def _delivery(options: Mapping[str, str], subject: Subject) -> dict[str, Any]:
    buffer = options.get("max-buffer-size")
    return {
        "id": subject.id,
        "blocking": known.blocking(options),
        "buffer": known.size(buffer, binary=True) if buffer else _BUFFER,
    }


def _named_tag(options: Mapping[str, str], subject: Subject) -> dict[str, str]:
    return {"tag": tag(subject, options["tag"])} if options.get("tag") else {}


def _limits(options: Mapping[str, str], *, compress: bool) -> dict[str, Any]:
    """Sizes and counts; ``compress`` is the driver's default. Raises InvalidParameterError."""
    files = DEFAULT_FILES if "max-size" not in options or compress else 1
    if "max-file" in options:
        files = known.number(options["max-file"])
        if files < 1:
            raise InvalidParameterError("max-file cannot be less than 1")
    size = DEFAULT_SIZE
    if options.get("max-size") == UNLIMITED:
        size = 0
    elif "max-size" in options:
        size = known.size(options["max-size"])
        if not size:
            raise InvalidParameterError("max-size must be a positive number")
    if "compress" in options:
        compress = known.boolean(options["compress"])
        if compress and (files < 2 or not size):
            raise InvalidParameterError("compress cannot be true when max-file is less than 2 or max-size is not set")
    return {"max_size": size, "max_file": files, "compress": compress and files > 1}


def _fields(subject: Subject, label: str, extra: Mapping[str, str]) -> dict[str, str]:
    """What Docker gives every entry in the journal, attributes under names as the journal wants them."""
    fields = {
        "CONTAINER_ID": subject.id[:12],
        "CONTAINER_ID_FULL": subject.id,
        "CONTAINER_NAME": subject.name,
        "CONTAINER_TAG": label,
        "IMAGE_NAME": subject.image,
        "SYSLOG_IDENTIFIER": label,
    }
    for name, value in extra.items():
        clean = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.upper())
        fields[clean.lstrip("_")] = value
    return fields


def _tls(options: Mapping[str, str]) -> dict[str, Any]:
    """Raises InvalidParameterError for a file that can't be read."""
    files = {"ca": "syslog-tls-ca-cert", "cert": "syslog-tls-cert", "key": "syslog-tls-key"}
    for name in files.values():
        if path := options.get(name, ""):
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                what = "CA certificate" if name.endswith("ca-cert") else "X509 key pair"
                raise InvalidParameterError(
                    f'could not read {what} "{path}": open {path}: {(error.strerror or "").lower()}'
                ) from None
    return {key: options.get(name, "") for key, name in files.items()} | {
        # As Docker has it: the option's presence says yes, whatever its value.
        "skip_verify": "syslog-tls-skip-verify" in options,
    }


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
