"""Image references: canonical inside, familiar at the edge.

The grammar is the one of Docker's reference package::

    reference := name [ ":" tag ] [ "@" digest ]
    name      := [ domain "/" ] path-component *( "/" path-component )

A first component is a domain when it has a dot or a colon, is ``localhost`` or has an upper-case letter; else the
domain is ``docker.io``, and a name of a single component belongs to ``library/``.
"""

import re
from typing import Final, Self

import msgspec

from rundlet.errors import InvalidParameterError
from rundlet.oci.digest import ALGORITHMS, Digest

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
NAME_LIMIT: Final = 255
_LEGACY_DOMAIN: Final = "index.docker.io"
_OFFICIAL: Final = "library/"

_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE: Final = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_TAG_ONLY: Final = re.compile(_TAG)
_FULL_ID: Final = re.compile(r"[a-f0-9]{64}")
_ID_PREFIX: Final = re.compile(r"(?:(sha256|sha384|sha512):)?([a-f0-9]{1,128})")


class InvalidReferenceError(InvalidParameterError):
    """The text is not a reference."""

    reason = "invalid-reference"

    def __init__(self, text: str, message: str = "invalid reference format") -> None:
        super().__init__(message)
        self.text = text


class Reference(msgspec.Struct, frozen=True):
    """A normalised image name with an optional tag, an optional digest, or both."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what a user typed. Raises InvalidReferenceError or InvalidDigestError with Docker's words."""
        if _FULL_ID.fullmatch(text):
            raise InvalidReferenceError(
                text, f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        domain, remote = _split_domain(text)
        name = remote.partition(":")[0]
        if name.lower() != name:
            raise InvalidReferenceError(text, f"invalid reference format: repository name ({name}) must be lowercase")
        match = _REFERENCE.fullmatch(f"{domain}/{remote}")
        if match is None:
            raise InvalidReferenceError(text)
        if len(match["path"]) > NAME_LIMIT:
            raise InvalidReferenceError(text, f"repository name must not be more than {NAME_LIMIT} characters")
        digest = match["digest"]
        return cls(match["domain"], match["path"], match["tag"], Digest.parse(digest) if digest else None)

    @property
    def name(self) -> str:
        """The canonical name: ``docker.io/library/debian``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as users write it: ``debian``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        official = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in official else official

    @property
    def suffix(self) -> str:
        """``:tag``, ``@digest``, both, or nothing."""
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"

    @property
    def canonical(self) -> str:
        """The whole reference with its canonical name: ``docker.io/library/debian:12``."""
        return self.name + self.suffix

    @property
    def familiar(self) -> str:
        """The whole reference as users write it: ``debian:12``."""
        return self.familiar_name + self.suffix

    @property
    def name_only(self) -> bool:
        """Whether neither a tag nor a digest was given."""
        return self.tag is None and self.digest is None

    def with_tag(self, tag: str) -> "Reference":
        """The same name with ``tag`` and no digest. Raises InvalidReferenceError (``invalid tag format``)."""
        if not _TAG_ONLY.fullmatch(tag):
            raise InvalidReferenceError(tag, "invalid tag format")
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest: Digest) -> "Reference":
        """The same name with ``digest`` and no tag."""
        return Reference(self.domain, self.path, None, digest)

    def with_default_tag(self) -> "Reference":
        """``latest`` where neither tag nor digest was given."""
        return self.with_tag(DEFAULT_TAG) if self.name_only else self

    def trimmed(self) -> "Reference":
        """The name alone."""
        return Reference(self.domain, self.path)

    def __str__(self) -> str:
        return self.familiar


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, _OFFICIAL + text
    if first == _LEGACY_DOMAIN:
        domain, remote = DEFAULT_DOMAIN, rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, remote = first, rest
    else:
        domain, remote = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in remote:
        remote = _OFFICIAL + remote
    return domain, remote


def identifier_prefixes(text: str) -> tuple[str, ...]:
    """What the ID of an image begins with, where ``text`` can be one, or a shortened one, with or without its
    algorithm; nothing where it can't.

    Such a text can be a repository name too (``deadbeef``): Docker looks for the name first, then for the one image
    whose ID begins so; only a text of 64 digits is always an ID.
    """
    match = _ID_PREFIX.fullmatch(text)
    if match is None:
        return ()
    return tuple(f"{algorithm}:{match[2]}" for algorithm in ((match[1],) if match[1] else sorted(ALGORITHMS)))


def is_full_identifier(text: str) -> bool:
    """Whether ``text`` is 64 hexadecimal digits, or those after ``sha256:``: never a name."""
    return _FULL_ID.fullmatch(text.removeprefix("sha256:")) is not None
