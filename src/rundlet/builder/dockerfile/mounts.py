"""``RUN --mount=…``."""

import csv
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from rundlet.builder.dockerfile.ast import Mount
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.suggest import did_you_mean

_TYPES: Final = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING: Final = ("shared", "private", "locked")
_TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_KEYS: Final = (
    "type from source target readonly id sharing required size mode uid gid env src dst destination ro rw readwrite"
).split()
_BARE: Final = frozenset(("readonly", "ro", "readwrite", "rw", "required"))
_SIZES: Final = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_WITH_OWNER: Final = ("secret", "ssh", "cache")


def parse_mount(text: str, expand: Callable[[str], str] | None) -> Mount:
    """The mount that ``text`` describes. Without ``expand``, of a text with variables or mistakes, only what is never
    expanded: ``from``; what else is wrong shows when it is. Raises DockerfileError with Docker's words."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as exc:
        raise DockerfileError(f"failed to parse csv mounts: {exc}") from exc
    if expand is None:
        for field in fields:
            key, _, value = field.partition("=")
            if key.lower() == "from" and "$" in value[:-1]:
                raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")
        try:
            return Mount(from_=_source(fields)) if "$" in text else _whole(fields, _same)
        except DockerfileError:
            return Mount(from_=_source(fields))
    return _whole(fields, expand)


def _source(fields: Sequence[str]) -> str:
    sources = [value for key, _, value in (field.partition("=") for field in fields) if key.lower() == "from"]
    return sources[-1] if sources else ""


def _whole(fields: Sequence[str], expand: Callable[[str], str]) -> Mount:
    found = _Fields()
    for field in fields:
        found.add(field, expand)
    return found.mount()


def _same(text: str) -> str:
    return text


class _Fields:
    """A mount while its fields are read: what a field may be depends on those before it."""

    def __init__(self) -> None:
        self.type = "bind"
        self.set: dict[str, Any] = {}

    def add(self, field: str, expand: Callable[[str], str]) -> None:
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in _BARE:
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        value = expand(value) if equals else "true"
        if key == "type":
            self.type = value.lower()
            if self.type not in _TYPES:
                raise DockerfileError(f'unsupported mount type "{value}"' + did_you_mean(value, _TYPES))
        elif key in ("from", "id", "env"):
            self.set["from_" if key == "from" else key] = value
        elif key in ("source", "src"):
            self.set["source"] = value
        elif key in ("target", "dst", "destination"):
            self.set["target"] = value
        elif key in ("readonly", "ro"):
            self.set["read_only"] = _boolean(key, value)
        elif key in ("readwrite", "rw"):
            self.set["read_only"] = not _boolean(key, value)
        elif key == "required":
            self._only(key, "secret", "ssh")
            self.set["required"] = _boolean(key, value)
        elif key == "size":
            self._only(key, "tmpfs")
            self.set["size"] = _size(value)
        elif key == "sharing":
            if value.lower() not in _SHARING:
                raise DockerfileError(f'unsupported sharing value "{value}"' + did_you_mean(value, _SHARING))
            self.set["sharing"] = value.lower()
        elif key in ("mode", "uid", "gid"):
            self.set[key] = _number(key, value)
        else:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'" + did_you_mean(key, _KEYS))

    def _only(self, key: str, *types: str) -> None:
        if self.type not in types:
            raise DockerfileError(f"unexpected key '{key}' for mount type '{self.type}'")

    def mount(self) -> Mount:
        found, kind = self.set, self.type
        for key in ("mode", "uid", "gid"):
            if key in found and kind not in _WITH_OWNER:
                raise DockerfileError(f'{key} not allowed for "{kind}" type mounts')
        if kind == "secret":
            self._check_secret()
        elif "env" in found:
            raise DockerfileError(f'env not allowed for "{kind}" type mounts')
        if "sharing" in found and kind != "cache":
            raise DockerfileError(f"invalid cache sharing set for {kind} mount")
        found.setdefault("read_only", kind not in ("cache", "tmpfs"))
        return msgspec.structs.replace(Mount(), type=kind, **found)

    def _check_secret(self) -> None:
        found = self.set
        if found.get("from_"):
            raise DockerfileError("secret mount should not have a from")
        if "sharing" in found:
            raise DockerfileError("secret mount should not define sharing")
        if not (found.get("source") or found.get("target") or found.get("id")):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if found.get("source") and found.get("id"):
            raise DockerfileError("both source and id can't be set")


def _boolean(key: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise DockerfileError(f"invalid value for {key}: {value}")


def _number(key: str, value: str) -> int:
    try:
        if not (value.isascii() and value.isdigit()):
            raise ValueError
        number = int(value, 8 if key == "mode" else 10)
        if number >= 1 << 32:
            raise ValueError
    except ValueError:
        raise DockerfileError(f"invalid value {value} for {key}") from None
    return number


def _size(value: str) -> int:
    """Bytes of ``64m``, ``1.5GiB`` …"""
    digits = value.rstrip("bBiIkKmMgGtTpP ")
    suffix = value[len(digits) :].strip().lower()
    unit = suffix[:1] if suffix in ("", "b", suffix[:1], suffix[:1] + "b", suffix[:1] + "ib") else "?"
    try:
        if unit not in _SIZES or not digits or digits[0] in "+-":
            raise ValueError
        return int(float(digits) * _SIZES[unit])
    except (ValueError, OverflowError):
        raise DockerfileError(f"invalid value for size: {value}") from None
