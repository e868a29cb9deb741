"""Image names as users write them: enough to choose a registry, a default tag and credentials.

The engine has the full grammar; here only what must be known before it is asked.
"""

from __future__ import annotations

from rundlet.cli.exit import CommandError

DOCKER_HUB = "docker.io"
INDEX_SERVER = "https://index.docker.io/v1/"
_ID = frozenset("0123456789abcdef")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/")
_TAG = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class ImageName:
    """``domain/path[:tag][@digest]``, normalised (``debian`` is ``docker.io/library/debian``)."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str, digest: str) -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        if self.domain != DOCKER_HUB:
            return self.name
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix()

    @property
    def tag_or_digest(self) -> str:
        return self.digest or self.tag

    def with_default_tag(self) -> ImageName:
        if self.tag or self.digest:
            return self
        return ImageName(self.domain, self.path, "latest", "")


def is_id(text: str) -> bool:
    """Whether ``text`` is what an image's or a container's whole ID looks like."""
    return len(text) == 64 and set(text) <= _ID


def parse(text: str) -> ImageName:
    """Raises CommandError with Docker's sentences."""
    invalid = CommandError("invalid reference format")
    if is_id(text):
        raise CommandError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    first, slash, path = rest.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        domain, path = DOCKER_HUB, rest
    else:
        domain = first
    if domain == "index.docker.io":
        domain = DOCKER_HUB
    path, colon, tag = path.partition(":")
    if domain == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    named = path if colon or not at else f"{path}@{digest.partition(':')[0]}"  # up to the first colon, as Docker
    if named.lower() != named:
        raise CommandError(f"invalid reference format: repository name ({named}) must be lowercase")
    if at and not _has_digest_shape(digest):
        raise invalid
    bad_tag = colon and (not tag or len(tag) > 128 or tag[0] in ".-" or not set(tag) <= _TAG)
    parts = path.split("/")
    if bad_tag or not set(path) <= _NAME or any(not part or not _is_component(part) for part in parts):
        raise invalid
    if len(path) > 255:
        raise CommandError("repository name must not be more than 255 characters")
    if at:
        _check_digest(digest)
    return ImageName(domain, path, tag, digest)


def _has_digest_shape(text: str) -> bool:
    algorithm, _, digits = text.partition(":")
    parts = algorithm.replace("_", "+").replace("-", "+").replace(".", "+").split("+")
    named = all(part.isascii() and part.isalnum() and part[0].isalpha() for part in parts)
    return named and len(digits) >= 32 and set(digits) <= set("0123456789abcdefABCDEF")


def _check_digest(text: str) -> None:
    algorithm, _, digits = text.partition(":")
    length = {"sha256": 64, "sha384": 96, "sha512": 128}.get(algorithm)
    if length is None:
        raise CommandError("unsupported digest algorithm")
    if len(digits) != length:
        raise CommandError("invalid checksum digest length")
    if digits.lower() != digits:
        raise CommandError("invalid checksum digest format")


def _is_component(part: str) -> bool:
    if part[0] in "._-" or part[-1] in "._-":
        return False
    squeezed = part
    while "--" in squeezed:
        squeezed = squeezed.replace("--", "-")
    return "___" not in squeezed and not any(pair in squeezed for pair in ("..", "._", "_.", ".-", "-.", "_-", "-_"))
