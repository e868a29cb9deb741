"""Errors about images, in the words a Docker user knows."""

from rundlet.errors import (
    ConflictError,
    DigestMismatchError,
    InternalError,
    InvalidParameterError,
    NotFoundError,
    RundletError,
)
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.util.ids import short


class ReferenceInUseError(ConflictError):
    """Untagging would leave a container's image without a name."""

    reason = "image-reference-in-use"

    def __init__(self, reference: str, container: str, image: Digest) -> None:
        super().__init__(
            f'conflict: unable to remove repository reference "{reference}" (must force) - '
            f"container {short(container)} is using its referenced image {image.short}"
        )
        self.container = container


class ImageConflictError(ConflictError):
    """The image can't be deleted; ``hard`` when not even by force, ``used`` when a container is the reason."""

    reason = "image-in-use"

    def __init__(self, image: Digest, why: str, *, hard: bool = False, used: bool = False) -> None:
        force = "cannot be forced" if hard else "must be forced"
        super().__init__(f"conflict: unable to delete {image.short} ({force}) - {why}")
        self.hard = hard
        self.used = used


class AmbiguousTagError(InvalidParameterError):
    """A repository called ``sha256`` would look like a digest."""

    reason = "ambiguous-tag"

    def __init__(self) -> None:
        super().__init__("refusing to create an ambiguous tag using digest algorithm as name")


class DigestAsNameError(InvalidParameterError):
    """A digest is an image's own, and can't be given to it."""

    reason = "digest-as-name"

    def __init__(self) -> None:
        super().__init__("cannot import digest reference")


class ForeignSystemError(InvalidParameterError):
    """An image that is made here is one for Linux."""

    reason = "foreign-system"

    def __init__(self) -> None:
        super().__init__("operating system is not supported")


class OtherSystemError(InvalidParameterError):
    """An image that comes in is for another operating system: nothing here could run it."""

    reason = "other-system"

    def __init__(self, system: str) -> None:
        super().__init__(f'image operating system "{system}" cannot be used on this platform')


class LeaseEndedError(InternalError):
    """A part of an operation went on when the operation had ended: what it brings in would stay with nobody."""

    reason = "lease-ended"

    def __init__(self) -> None:
        super().__init__("the operation that this was for has ended")


class LayerMismatchError(DigestMismatchError):
    """A registry sent something else than the layer."""

    def __init__(self, digest: Digest, actual: str) -> None:
        super().__init__(str(digest), actual)
        self.message = f"filesystem layer verification failed for digest {digest}: got {actual}"


class NoMatchingManifestError(NotFoundError):
    reason = "no-matching-manifest"

    def __init__(self, platform: str) -> None:
        super().__init__(f"no matching manifest for {platform} in the manifest list entries")
        self.platform = platform


class PlatformMismatchError(NotFoundError):
    """The only image under the name is for another platform than the one asked for."""

    reason = "platform-mismatch"

    def __init__(self, reference: str, wanted: Platform, found: Platform) -> None:
        super().__init__(
            f"image with reference {reference} was found but its platform ({found}) "
            f"does not match the specified platform ({wanted})"
        )
        self.wanted = wanted
        self.found = found


class NotAnImageError(InvalidParameterError):
    """The reference names something else than a container image (a chart, a signature, a model)."""

    reason = "not-an-image"

    def __init__(self, media_type: str) -> None:
        super().__init__(f'Encountered remote "{media_type}" (unknown) when fetching')
        self.media_type = media_type


class ForeignLayerError(InvalidParameterError):
    """A layer that would have to be fetched from a URL of the manifest's choosing."""

    reason = "foreign-layer"

    def __init__(self, digest: Digest) -> None:
        super().__init__(
            f"layer {digest} is kept outside of the registry (foreign layer), which Rundlet does not fetch"
        )
        self.digest = digest


class BrokenImageError(InternalError):
    """Config and manifest contradict each other."""

    reason = "broken-image"

    def __init__(self, why: str) -> None:
        super().__init__(f"invalid image: {why}")


class TooDeepError(InvalidParameterError):
    reason = "index-too-deep"

    def __init__(self) -> None:
        super().__init__("invalid image index: indexes are nested too deeply")


class TagWithAllTagsError(InvalidParameterError):
    reason = "tag-with-all-tags"

    def __init__(self) -> None:
        super().__init__("tag can't be used with --all-tags/-a")


class NoSuchTagError(NotFoundError):
    """A push of a tag that is not here, of a repository that is."""

    reason = "no-such-tag"

    def __init__(self, reference: str) -> None:
        super().__init__(f"tag does not exist: {reference}")
        self.reference = reference


class NoLocalImageError(NotFoundError):
    """A push of a repository that is not here."""

    reason = "no-local-image"

    def __init__(self, name: str) -> None:
        super().__init__(f"An image does not exist locally with the tag: {name}")
        self.name = name


class MissingBlobError(InternalError):
    """A layer's compressed bytes are not here and nowhere known to be."""

    reason = "missing-blob"

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"the content of layer {digest} is not available: pull the image again")
        self.digest = digest


class BadChangeError(InvalidParameterError):
    """A ``--change`` that is no Dockerfile instruction, or none that makes sense there."""

    reason = "bad-change"


class TagToDigestError(InvalidParameterError):
    reason = "tag-to-digest"

    def __init__(self) -> None:
        super().__init__("refusing to create a tag with a digest reference")


class RemoteArchiveError(RundletError):
    """What a server says of an archive that was to be imported; what only the server can be blamed for is a 500."""

    reason = "remote-archive"

    def __init__(self, address: str, status: int, reason: str, body: str) -> None:
        super().__init__(f"failed to GET {address} with status {status} {reason}".rstrip() + f": {body.strip()}")
        self.status = status if status in (400, 401, 403, 404) else InternalError.status
