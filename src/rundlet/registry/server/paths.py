"""What a request's path asks for. See: OCI distribution-spec v1.1, "Endpoints"."""

import re
from typing import Final

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import ALGORITHMS, Digest
from rundlet.registry.server.errors import DigestInvalidError, NameInvalidError, NotHereError, TagInvalidError

_NAME: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_NAME_LIMIT: Final = 255
_HOST: Final = re.compile(r"(?:[a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_SHAPES: Final = (
    ("trust", re.compile(r"/v2/(?P<name>.+)/_trust/tuf/(?P<last>.*)")),
    ("base", re.compile(r"/v2/?")),
    ("catalog", re.compile(r"/v2/_catalog")),
    ("ping", re.compile(r"/v1/_ping")),
    ("search", re.compile(r"/v1/search")),
    ("uploads", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/?")),
    ("upload", re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<last>[^/]+)")),
    ("blob", re.compile(r"/v2/(?P<name>.+)/blobs/(?P<last>[^/]+)")),
    ("manifest", re.compile(r"/v2/(?P<name>.+)/manifests/(?P<last>[^/]+)")),
    ("tags", re.compile(r"/v2/(?P<name>.+)/tags/list")),
    ("referrers", re.compile(r"/v2/(?P<name>.+)/referrers/(?P<last>[^/]+)")),
)


class Target(msgspec.Struct, frozen=True):
    """The endpoint's name, the repository and the last part of the path, "" where there is none."""

    kind: str
    repository: str = ""
    last: str = ""

    @property
    def digest(self) -> Digest:
        """Raises DigestInvalidError."""
        return parse_digest(self.last)

    @property
    def reference(self) -> str | Digest:
        """A manifest's tag or digest. Raises DigestInvalidError, TagInvalidError."""
        if ":" in self.last:
            return self.digest
        return parse_tag(self.last)


def parse_path(path: str) -> Target:
    """Raises NotHereError, NameInvalidError."""
    for kind, shape in _SHAPES:
        match = shape.fullmatch(path)
        if match is not None:
            found = match.groupdict()
            name = found.get("name", "")
            if name and not (is_name(name) or (kind == "trust" and _is_full_name(name))):
                raise NameInvalidError(name[:300])
            return Target(kind, name, found.get("last", ""))
    raise NotHereError(path[:300])


def is_name(name: str) -> bool:
    """Whether ``name`` can be a repository."""
    return len(name) <= _NAME_LIMIT and _NAME.fullmatch(name) is not None


def _is_full_name(name: str) -> bool:
    """Whether ``name`` is a repository with its registry in front: trust is filed under whole names."""
    host, _, path = name.partition("/")
    return _HOST.fullmatch(host) is not None and is_name(path)


def parse_tag(text: str) -> str:
    """Raises TagInvalidError."""
    if not _TAG.fullmatch(text):
        raise TagInvalidError(text[:200])
    return text


def parse_algorithm(text: str) -> str:
    """Raises DigestInvalidError for what is no algorithm of digests that are known here."""
    if text not in ALGORITHMS:
        raise DigestInvalidError(f"unsupported digest algorithm: {text[:200]}")
    return text


def parse_digest(text: str) -> Digest:
    """Raises DigestInvalidError."""
    try:
        return Digest.parse(text)
    except InvalidParameterError as exc:
        raise DigestInvalidError(f"{exc}: {text[:200]}") from exc
