"""The errors of the distribution-spec, each with its code and its HTTP status.

See: OCI distribution-spec v1.1, "Error Codes"; statuses as the reference implementation answers them.
"""

from collections.abc import Mapping

import msgspec

from rundlet.errors import RundletError


class ServerError(RundletError):
    """What a client gets: ``code`` and words, ``detail`` for people, further ``headers``."""

    code = "UNKNOWN"
    words = "unknown error"

    def __init__(self, detail: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{self.words}: {detail}" if detail else self.words)
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON document of the specification."""
        return msgspec.json.encode({"errors": [{"code": self.code, "message": self.words, "detail": self.detail}]})


class BlobUnknownError(ServerError):
    status, code, words = 404, "BLOB_UNKNOWN", "blob unknown to registry"


class BlobUploadUnknownError(ServerError):
    status, code, words = 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"


class BlobUploadInvalidError(ServerError):
    status, code, words = 400, "BLOB_UPLOAD_INVALID", "blob upload invalid"


class UploadBusyError(BlobUploadInvalidError):
    """Two requests write to one upload."""

    status = 409


class RangeInvalidError(ServerError):
    status, code, words = 416, "RANGE_INVALID", "invalid content range"


class DigestInvalidError(ServerError):
    status, code, words = 400, "DIGEST_INVALID", "provided digest did not match uploaded content"


class SizeInvalidError(ServerError):
    status, code, words = 400, "SIZE_INVALID", "provided length did not match content length"


class ManifestUnknownError(ServerError):
    status, code, words = 404, "MANIFEST_UNKNOWN", "manifest unknown to registry"


class ManifestInvalidError(ServerError):
    status, code, words = 400, "MANIFEST_INVALID", "manifest invalid"


class ManifestTooLargeError(ManifestInvalidError):
    status = 413


class ManifestBlobUnknownError(ServerError):
    status, code, words = 400, "MANIFEST_BLOB_UNKNOWN", "manifest references a manifest or blob unknown to registry"


class NameInvalidError(ServerError):
    status, code, words = 400, "NAME_INVALID", "invalid repository name"


class NameUnknownError(ServerError):
    status, code, words = 404, "NAME_UNKNOWN", "repository name not known to registry"


class TagInvalidError(ServerError):
    status, code, words = 400, "TAG_INVALID", "manifest tag did not match the grammar of tags"


class PageInvalidError(ServerError):
    status, code, words = 400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"


class UnauthorizedError(ServerError):
    status, code, words = 401, "UNAUTHORIZED", "authentication required"


class DeniedError(ServerError):
    status, code, words = 403, "DENIED", "requested access to the resource is denied"


class UnsupportedError(ServerError):
    status, code, words = 405, "UNSUPPORTED", "the operation is unsupported"


class NotHereError(ServerError):
    """No endpoint of this path."""

    status, code, words = 404, "UNSUPPORTED", "no such endpoint"


class FullDiskError(ServerError):
    status, words = 507, "no space left on the registry's disk"


class UpstreamError(ServerError):
    """The registry that this one mirrors did not give what was asked for."""

    status, words = 502, "the mirrored registry failed"
