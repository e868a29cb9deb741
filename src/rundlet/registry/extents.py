"""Which bytes of a blob an answer has. See: RFC 9110, 14.4, 15.3.7."""

import re

from rundlet.errors import DigestMismatchError, RundletError
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.registry.errors import BadAnswerError
from rundlet.transport.errors import TransportError
from rundlet.transport.http import Response

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)


class SizeMismatchError(DigestMismatchError):
    """The registry sent more or fewer bytes than the manifest says."""

    def __init__(self, digest: Digest, expected: int, actual: str) -> None:
        super().__init__(f"{digest} of {expected} bytes", f"{actual} bytes")
        self.digest = digest


class WrongRangeError(BadAnswerError):
    """A part (206) that is not the one that was asked for, or does not say which one it is."""

    def __init__(self, url: str, extent: str, start: int) -> None:
        super().__init__(url, f'range "{extent}" instead of one from {start}')


def is_zipped(response: Response, descriptor: Descriptor) -> bool:
    """Whether the blob is below a coding that somebody on the way put around it, or that the registry's store claims.

    What has the blob's own length is the blob, whatever is said of it: objects uploaded as ``.tar.gz`` are often called
    encoded.
    """
    coding = response.headers.get("Content-Encoding", "").strip().lower()
    return coding in ("gzip", "x-gzip") and _length(response) != descriptor.size


def bytes_to_skip(response: Response, descriptor: Descriptor, start: int) -> int:
    """How many bytes to skip because the server ignored the range from ``start`` on.

    Raises SizeMismatchError when it announces another size, WrongRangeError for a part that is of no use.
    """
    announced = _length(response)
    if response.status == 200:
        if announced is not None and announced != descriptor.size and not is_zipped(response, descriptor):
            raise SizeMismatchError(descriptor.digest, descriptor.size, str(announced))
        return start
    extent = response.headers.get("Content-Range", "")
    found = _CONTENT_RANGE.fullmatch(extent.strip())
    # A part of something encoded begins somewhere else than its first byte says.
    if found is None or int(found[1]) != start or "Content-Encoding" in response.headers:
        raise WrongRangeError(response.url, extent, start)
    last, whole = int(found[2]), found[3]
    if whole not in ("*", str(descriptor.size)) or last >= descriptor.size:
        actual = whole if whole not in ("*", str(descriptor.size)) else f"at least {last + 1}"
        raise SizeMismatchError(descriptor.digest, descriptor.size, actual)
    if last < start or (announced is not None and announced != last - start + 1):
        raise WrongRangeError(response.url, extent, start)
    return 0


def too_short(response: Response, descriptor: Descriptor, position: int) -> RundletError:
    """An answer whose end nobody announced (HTTP/1.0) can't be told from a cut: it is one, and resumed."""
    if "Content-Length" in response.headers or "Transfer-Encoding" in response.headers:
        return SizeMismatchError(descriptor.digest, descriptor.size, str(position))
    return TransportError(response.method, response.url, "cut", "unexpected EOF")


def _length(response: Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and length.isascii() and len(length) < 20 else None
