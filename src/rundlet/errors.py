"""The taxonomy of errors. Imports nothing.

A :class:`RundletError` carries the HTTP ``status`` that the Engine API answers, a stable kebab-case ``reason`` and
typed fields; ``str(error)`` is the message a Docker user knows. Call sites raise a type with its fields and never
assemble sentences. Subsystems add their own subclasses of the kinds below, here where several rooms raise them, in
their own room where only one does.
"""


class RundletError(Exception):
    """Base of everything Rundlet raises on purpose."""

    status: int = 500
    reason: str = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class NotModifiedError(RundletError):
    """The object is already in the wanted state (304, no body)."""

    status = 304
    reason = "not-modified"


class InvalidParameterError(RundletError):
    """The request can't be understood or can't be carried out as asked (400)."""

    status = 400
    reason = "invalid-parameter"


class UnauthorizedError(RundletError):
    """A registry refused the credentials, or wants some (401)."""

    status = 401
    reason = "unauthorized"


class ForbiddenError(RundletError):
    """The object's state forbids it (403)."""

    status = 403
    reason = "forbidden"


class NotFoundError(RundletError):
    """The named object does not exist (404)."""

    status = 404
    reason = "not-found"


class ConflictError(RundletError):
    """The name is taken, or the object is in use or in the wrong state (409)."""

    status = 409
    reason = "conflict"


class InternalError(RundletError):
    """Something failed that the user did not cause (500)."""

    status = 500
    reason = "internal"


class NotSupportedError(RundletError):
    """A flag, field or endpoint that Rundlet refuses by name (501)."""

    status = 501
    reason = "not-supported"

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not supported by Rundlet")
        self.what = what


class UnavailableError(RundletError):
    """The engine is shutting down, or a needed part is gone (503)."""

    status = 503
    reason = "unavailable"


class NotSwarmManagerError(UnavailableError):
    """Rundlet is never part of a swarm, and answers so to what needs one."""

    reason = "not-swarm-manager"

    def __init__(self) -> None:
        super().__init__(
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
            "to swarm and try again."
        )


class NoSuchImageError(NotFoundError):
    reason = "no-such-image"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such image: {reference}")
        self.reference = reference


class NoSuchContainerError(NotFoundError):
    reason = "no-such-container"

    def __init__(self, reference: str) -> None:
        super().__init__(f"No such container: {reference}")
        self.reference = reference


class DigestMismatchError(InternalError):
    """Content did not have the digest or size it was announced with; nothing of it is kept."""

    reason = "digest-mismatch"

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"content verification failed: expected {expected}, got {actual}")
        self.expected = expected
        self.actual = actual
