"""JSON to structs and back: Digest as text, Go's leniency about null, errors of one kind."""

from typing import Any, TypeVar

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import Digest

T = TypeVar("T")


class InvalidDocumentError(InvalidParameterError):
    """A manifest, index or config that can't be read."""

    reason = "invalid-document"

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"invalid {kind}: {why}")
        self.kind = kind


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is Digest and isinstance(value, str):
        try:
            return Digest.parse(value)
        except InvalidParameterError as exc:
            raise ValueError(f"{exc} ({value[:80]!r})") from exc
    raise ValueError(f"unexpected value for {kind.__name__}")


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Digest):
        return str(value)
    raise TypeError(f"cannot encode {type(value).__name__}")


def decode(data: bytes, kind: type[T], what: str) -> T:
    """Read ``data`` as ``kind``. Raises InvalidDocumentError naming ``what``."""
    try:
        return msgspec.json.decode(data, type=kind, dec_hook=_decode_hook)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise InvalidDocumentError(what, str(exc)) from exc


def encode(value: Any) -> bytes:
    """Compact JSON with the struct's field order (the same value always gives the same bytes)."""
    return msgspec.json.encode(value, enc_hook=_encode_hook)
