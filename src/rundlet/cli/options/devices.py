"""--device, --gpus, block I/O throttles."""

from __future__ import annotations

from rundlet.cli.exit import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def parse_device(text: str) -> dict[str, str]:
    """``/dev/a:/dev/b:rwm``. Raises RunError."""
    parts = text.split(":")
    permissions = "rwm"
    if len(parts) == 3:
        source, target, permissions = parts
    elif len(parts) == 2:
        source, target = parts
        if _is_mode(target):
            target, permissions = source, target
    elif len(parts) == 1:
        source = target = text
    else:
        raise RunError(f"bad format for path: {text}")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions}


def _is_mode(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def devices(specifications: Iterable[str]) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """(Devices, DeviceRequests for CDI names like ``vendor.com/class=name``). Raises RunError."""
    plain: list[dict[str, str]] = []
    cdi: list[str] = []
    for text in specifications:
        if "=" in text and not text.startswith("/") and "/" in text.partition("=")[0]:
            cdi.append(text)
            continue
        device = parse_device(text)
        if not _is_mode(device["CgroupPermissions"]):
            raise RunError(f"bad mode specified: {device['CgroupPermissions']}")
        if not device["PathInContainer"].startswith("/"):
            raise RunError(f"{device['PathInContainer']} is not an absolute path")
        plain.append(device)
    return plain, [{"Driver": "cdi", "DeviceIDs": cdi}] if cdi else []


def parse_gpus(text: str) -> dict[str, Any]:
    """``all``, a count, or ``device=0,driver=…,capabilities=…`` as a DeviceRequest. Raises ValueError."""
    from rundlet.cli.options.mounts import split_csv

    request: dict[str, Any] = {}
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", field
        if key == "count":
            try:
                request["Count"] = -1 if value == "all" else int(value)
            except ValueError:
                raise ValueError(
                    f'invalid count ({value}): value must be either "all" or an integer: invalid syntax'
                ) from None
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            request["Capabilities"] = [[*value.split(","), "gpu"]]
        elif key == "options":
            request["Options"] = dict(part.partition("=")[::2] for part in value.split(","))
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    if "Count" not in request and "DeviceIDs" not in request:
        request["Count"] = 1
    request.setdefault("Capabilities", [["gpu"]])
    return request


def throttle(text: str, *, sizes: bool) -> dict[str, Any]:
    """``/dev/sda:1mb`` as {Path, Rate}; ``sizes`` allows units. Raises ValueError."""
    from rundlet.cli.values import size_in_bytes

    path, rate = _device_and_number(text)
    try:
        number = size_in_bytes(rate) if sizes else int(rate)
        if number < 0:
            raise ValueError(rate)
    except ValueError:
        wanted = "<device-path>:<number>[<unit>]" if sizes else "<device-path>:<number>"
        tail = ". Unit is optional and can be kb, mb, or gb" if sizes else ""
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is {wanted}. Number must be a positive integer{tail}"
        ) from None
    return {"Path": path, "Rate": number}


def weight(text: str) -> dict[str, Any]:
    """``/dev/sda:200`` as {Path, Weight}. Raises ValueError."""
    path, number = _device_and_number(text)
    if not number.isdigit() or (int(number) > 0 and not 10 <= int(number) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(number)}


def _device_and_number(text: str) -> tuple[str, str]:
    path, _, number = text.rpartition(":")
    if not path or not number:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, number
