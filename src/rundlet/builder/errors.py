"""Why a build fails, in Docker's words. ``code`` is what ``errorDetail`` carries."""

from rundlet.builder.dockerfile.ast import Position
from rundlet.errors import InvalidParameterError, NotFoundError, RundletError


class BuildError(RundletError):
    """A build that can't go on (500 if nothing has been answered yet)."""

    reason = "build-failed"
    code = 0


class StepFailedError(BuildError):
    """RUN ended with another status than 0; ``code`` is that status."""

    reason = "build-step-failed"

    def __init__(self, command: str, code: int) -> None:
        super().__init__(f"The command '{command}' returned a non-zero code: {code}")
        self.code = code


class SourceNotFoundError(BuildError):
    """COPY or ADD of something that is not there."""

    reason = "build-source-not-found"

    def __init__(self, keyword: str, name: str, where: str) -> None:
        super().__init__(
            f"{keyword} failed: file not found in {where} or excluded by .dockerignore: "
            f"stat {name}: file does not exist"
        )


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
    """An error with the place of the instruction that it is about; message, status and code are the cause's."""

    def __init__(self, cause: RundletError, position: Position) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.position = position
        self.status = cause.status
        self.reason = cause.reason
        self.code: int = getattr(cause, "code", 0)
        self.source = ""
        """The Dockerfile's text, where whoever reports the error wants it."""
