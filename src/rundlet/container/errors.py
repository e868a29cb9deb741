"""Errors about containers, in the words a Docker user knows."""

from typing import Final

from rundlet.errors import ConflictError, InternalError, InvalidParameterError, NotModifiedError

_RENAME: Final = "Error when allocating new name"


class NameInUseError(ConflictError):
    reason = "name-in-use"

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


class InvalidNameError(InvalidParameterError):
    reason = "invalid-name"

    def __init__(self, name: str) -> None:
        super().__init__(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")


class AmbiguousIDError(InvalidParameterError):
    reason = "ambiguous-id"

    def __init__(self, prefix: str) -> None:
        super().__init__(f"multiple IDs found with provided prefix: {prefix}")


class RecordWriteError(InternalError):
    """The container's record can't be written; nothing has changed."""

    reason = "record-not-written"

    def __init__(self, directory: str, error: OSError) -> None:
        super().__init__(f"write {directory}: {(error.strerror or str(error)).lower()}")


class NotRunningError(ConflictError):
    reason = "not-running"

    def __init__(self, container_id: str) -> None:
        super().__init__(f"container {container_id} is not running")


class PausedError(ConflictError):
    reason = "paused"

    def __init__(self, reference: str) -> None:
        super().__init__(f"Container {reference} is paused, unpause the container before exec")


class AlreadyStartedError(NotModifiedError):
    reason = "already-started"

    def __init__(self) -> None:
        super().__init__("container already started")


class AlreadyStoppedError(NotModifiedError):
    reason = "already-stopped"

    def __init__(self) -> None:
        super().__init__("container already stopped")


class NewNameInUseError(ConflictError):
    reason = "name-in-use"

    def __init__(self, error: NameInUseError) -> None:
        super().__init__(f"{_RENAME}: {error}")


class InvalidNewNameError(InvalidParameterError):
    reason = "invalid-name"

    def __init__(self, error: InvalidNameError) -> None:
        super().__init__(f"{_RENAME}: {error}")
