"""Why a build fails, in the words of Docker's classic builder and in BuildKit's. ``code`` is what ``errorDetail``
carries."""

import os
import posixpath

from rundlet.builder.dockerfile.ast import Position
from rundlet.errors import InvalidParameterError, NotFoundError, RundletError
from rundlet.oci.platform import Platform
from rundlet.storage.layer import fields


class BuildError(RundletError):
    """A build that can't go on (500 if nothing has been answered yet)."""

    reason = "build-failed"
    code = 0

    @property
    def buildkit(self) -> str:
        """What BuildKit says of it."""
        return str(self)


class StepFailedError(BuildError):
    """RUN ended with another status than 0; ``code`` is that status."""

    reason = "build-step-failed"

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")
        self._command = command
        self.code = code

    @property
    def buildkit(self) -> str:
        return (
            f"process {fields.quote(os.fsencode(self._command))} did not complete successfully: exit code: {self.code}"
        )


class StepNotStartedError(BuildError):
    """RUN whose command could not be started; status and words are the ``cause``'s."""

    reason = "build-step-not-started"

    def __init__(self, command: str, cause: RundletError) -> None:
        super().__init__(str(cause))
        self._command = command
        self.status = cause.status
        self.code = getattr(cause, "code", 0)

    @property
    def buildkit(self) -> str:
        return f"process {fields.quote(os.fsencode(self._command))} did not complete successfully: {self}"


class ForeignProgramError(BuildError):
    """RUN of a program that is another platform's, and nothing here runs it. ``failure`` is what the start said."""

    reason = "build-foreign-program"

    def __init__(self, failure: RundletError, platform: Platform, host: Platform) -> None:
        super().__init__(
            f"{failure}: the image is for {platform} and this machine is {host}: programs of it need an emulator that "
            "is registered with binfmt_misc (qemu-user-static)"
        )


class SourceNotFoundError(BuildError):
    """COPY or ADD of something that is not there."""

    reason = "build-source-not-found"

    def __init__(self, keyword: str, name: str, where: str) -> None:
        super().__init__(
            f"{keyword} failed: file not found in {where} or excluded by .dockerignore: "
            f"stat {name}: file does not exist"
        )
        self._name = name

    @property
    def buildkit(self) -> str:
        path = posixpath.normpath(f"/{self._name}")
        return f'failed to compute cache key: failed to calculate checksum: "{path}": not found'


class CopyUrlError(BuildError):
    """COPY of what only ADD fetches."""

    reason = "build-copy-url"

    def __init__(self) -> None:
        super().__init__("source can't be a URL for COPY")


class NoSourcesError(BuildError):
    """COPY or ADD with patterns that nothing fits."""

    reason = "build-no-sources"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} failed: no source files were specified")


class TransferError(BuildError):
    """COPY or ADD that can't be carried out."""

    reason = "build-transfer"

    def __init__(self, keyword: str, why: str) -> None:
        super().__init__(f"{keyword} failed: {why}")
        self._why = why

    @property
    def buildkit(self) -> str:
        return self._why


class DirectoryError(BuildError):
    """WORKDIR where something else is."""

    reason = "build-not-a-directory"

    def __init__(self, path: str) -> None:
        super().__init__(f"Cannot mkdir: {path} is not a directory")

    @property
    def buildkit(self) -> str:
        return str(self).removeprefix("Cannot ")


class StageNumberError(BuildError):
    """``--from`` with the number of a stage that isn't there."""

    reason = "build-stage-number"

    def __init__(self, number: str) -> None:
        super().__init__(f"invalid from flag value {number}: index out of bounds")
        self._number = number

    @property
    def buildkit(self) -> str:
        return f"invalid stage index {self._number}"


class FromImageError(BuildError):
    """``--from`` with an image that can't be had; the classic builder puts the flag in front of the reason."""

    reason = "build-from-image"

    def __init__(self, name: str, cause: RundletError) -> None:
        super().__init__(f"invalid from flag value {name}: {cause}")
        self.status = cause.status
        self._buildkit = str(cause)

    @property
    def buildkit(self) -> str:
        return self._buildkit


class ManySourcesError(BuildError):
    """COPY or ADD of several things to what must be one file."""

    reason = "build-many-sources"

    def __init__(self, keyword: str) -> None:
        super().__init__(
            f"When using {keyword} with more than one source file, the destination must be a directory and end with a /"
        )


class VolumeOverFileError(BuildError):
    reason = "build-volume-over-file"

    def __init__(self, path: str) -> None:
        super().__init__(f"cannot mount volume over existing file, file exists {path}")


class OwnStageError(InvalidParameterError):
    """``--from`` with the number of the stage that it is in, in the classic builder's words."""

    reason = "build-own-stage"

    def __init__(self, name: str) -> None:
        super().__init__(f"invalid from flag value {name}: refers to current build stage")


class CyclicStagesError(InvalidParameterError):
    """Stages that need one another."""

    reason = "build-cycle"

    def __init__(self, name: str) -> None:
        super().__init__(f"circular dependency detected on stage: {name}")


class StageNotFoundError(NotFoundError):
    reason = "build-stage-not-found"

    def __init__(self, name: str) -> None:
        super().__init__(f"invalid from flag value {name}: no stage, build context or image of that name")


class LocatedError(RundletError):
    """An error with the place of the instruction that it is about; status and code are the cause's, and the message, in
    BuildKit's words if it is to be theirs."""

    def __init__(self, cause: RundletError, position: Position, *, buildkit: bool = False) -> None:
        super().__init__(words_of(cause, buildkit=buildkit))
        self.cause = cause
        self.position = position
        self.status = cause.status
        self.reason = cause.reason
        self.code: int = getattr(cause, "code", 0)
        self.source = ""
        """The Dockerfile's text, where whoever reports the error wants it."""


def words_of(error: RundletError, *, buildkit: bool) -> str:
    """What to say of ``error``."""
    return error.buildkit if buildkit and isinstance(error, BuildError) else str(error)
