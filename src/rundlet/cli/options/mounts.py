"""-v, --mount and --tmpfs."""

from __future__ import annotations

import os

from rundlet.cli.exit import RunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

TYPES = ("bind", "volume", "tmpfs", "npipe", "cluster", "image")
SWITCHES = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src", "idmap")
PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")


def split_csv(text: str) -> list[str]:
    """The fields of one line of CSV (``"a,b",c`` has two). Raises ValueError for a stray quote."""
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        column = len(text.encode()) + 1
        raise ValueError(f'parse error on line 1, column {column}: extraneous or missing " in quoted-field') from None


def _boolean(text: str, key: str) -> bool:
    from rundlet.cli.flags import FALSE, TRUE

    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f"invalid value for {key}: {text}")


def _text(text: str, _key: str) -> str:
    return text


def _lower(text: str, _key: str) -> str:
    return text.lower()


def _source(text: str, _key: str) -> str:
    """Only this process knows where it is."""
    return os.path.abspath(text) if text.startswith(".") else text


def _size(text: str, key: str) -> int:
    from rundlet.cli.values import size_in_bytes

    try:
        return size_in_bytes(text)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {text}") from None


def _mode(text: str, key: str) -> int:
    if not text.isdecimal() or set(text) - set("01234567"):
        raise ValueError(f"invalid value for {key}: {text}")
    return int(text, 8)


# The key of a field: whose it is (the mount's own, or the options' of a type), its name in the API, how it is read.
_FIELDS: dict[str, tuple[str, str, Callable[[str, str], Any]]] = {
    "type": ("mount", "Type", _lower),
    "source": ("mount", "Source", _source),
    "src": ("mount", "Source", _source),
    "target": ("mount", "Target", _text),
    "dst": ("mount", "Target", _text),
    "destination": ("mount", "Target", _text),
    "readonly": ("mount", "ReadOnly", _boolean),
    "ro": ("mount", "ReadOnly", _boolean),
    "consistency": ("mount", "Consistency", _lower),
    "bind-propagation": ("bind", "Propagation", _lower),
    "bind-nonrecursive": ("bind", "NonRecursive", _boolean),
    "bind-create-src": ("bind", "CreateMountpoint", _boolean),
    "idmap": ("bind", "IdMap", _boolean),
    "volume-nocopy": ("volume", "NoCopy", _boolean),
    "volume-subpath": ("volume", "Subpath", _text),
    "image-subpath": ("image", "Subpath", _text),
    "tmpfs-size": ("tmpfs", "SizeBytes", _size),
    "tmpfs-mode": ("tmpfs", "Mode", _mode),
}


def parse_mount(text: str) -> dict[str, Any]:
    """``type=bind,source=/a,target=/b,readonly`` as the API's Mount. Raises ValueError with Docker's sentence."""
    if not text:
        raise ValueError("EOF")
    mount: dict[str, Any] = {"Type": "volume"}
    options: dict[str, dict[str, Any]] = {"bind": {}, "volume": {}, "tmpfs": {}, "image": {}}
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in SWITCHES:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        if key in _FIELDS:
            place, name, read = _FIELDS[key]
            options.get(place, mount)[name] = read(value, key)
        elif key == "bind-recursive":
            _bind_recursive(options["bind"], mount, value)
        elif key.startswith("volume-"):
            _volume_option(options["volume"], key, value, field)
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    _check_recursive(mount, options["bind"])
    _check(mount, options)
    return mount


def _volume_option(volume: dict[str, Any], key: str, value: str, field: str) -> None:
    name, _, said = value.partition("=")
    if key == "volume-label":
        volume.setdefault("Labels", {})[name] = said
    elif key == "volume-driver":
        volume.setdefault("DriverConfig", {})["Name"] = value
    elif key == "volume-opt":
        volume.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = said
    else:
        raise ValueError(f"unexpected key '{key}' in '{field}'")


def _bind_recursive(bind: dict[str, Any], mount: dict[str, Any], value: str) -> None:
    if value == "disabled":
        bind["NonRecursive"] = True
    elif value == "writable":
        bind["ReadOnlyNonRecursive"] = True
    elif value == "readonly":
        bind["ReadOnlyForceRecursive"] = True
    elif value != "enabled":
        raise ValueError(
            f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")'
        )


def _check_recursive(mount: dict[str, Any], bind: dict[str, Any]) -> None:
    for key, word in (("ReadOnlyNonRecursive", "writable"), ("ReadOnlyForceRecursive", "readonly")):
        if bind.get(key) and not mount.get("ReadOnly"):
            raise ValueError(f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction")
    if bind.get("ReadOnlyForceRecursive") and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )


def _check(mount: dict[str, Any], options: dict[str, dict[str, Any]]) -> None:
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for name, values in options.items():
        if values and name != kind:
            raise ValueError(f"cannot mix '{name}-*' options with mount type '{kind}'")
        if values:
            mount[f"{name.capitalize()}Options"] = values


def volumes(specifications: Iterable[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """(Binds, Volumes): -v with a source is a bind or a named volume, without one an anonymous volume.

    Relative paths (``./x``) are made absolute here: only this process knows where it is. Raises RunError.
    """
    binds: list[str] = []
    anonymous: dict[str, dict[str, str]] = {}
    for text in dict.fromkeys(specifications):  # who repeats one means it once
        _check_sections(text)
        source, colon, rest = text.partition(":")
        if not colon or len(text) < 3:
            anonymous[text] = {}
            continue
        if source.startswith("."):
            source = os.path.abspath(source)
        binds.append(f"{source}:{rest}")
    return binds, anonymous


def _check_sections(text: str) -> None:
    if not text:
        raise RunError("invalid empty volume spec")
    for number, section in enumerate(_sections(text) if len(text) > 2 else ()):
        if number > 2:
            raise RunError(f"invalid spec: {text}: too many colons")
        if not section:
            raise RunError(f"invalid spec: {text}: empty section between colons")


def _sections(text: str) -> list[str]:
    """What is between colons; a single letter before one is a drive of Windows, and belongs to what follows."""
    found = [""]
    for part in text.split(":"):
        if len(found[-1]) == 1 and found[-1].isalpha():
            found[-1] += f":{part}"
        else:
            found.append(part)
    return found[1:]


def tmpfs(specifications: Iterable[str]) -> dict[str, str]:
    """``/run:size=64m`` as {path: options}."""
    out: dict[str, str] = {}
    for text in specifications:
        path, _, options = text.partition(":")
        out[path] = options
    return out
