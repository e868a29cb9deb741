"""Why something is not trusted, in Docker's words.

``str(error)`` is the reason; :meth:`TrustError.explain` is the line that a user of an image reads.
"""

from __future__ import annotations

from rundlet.errors import ForbiddenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import ClassVar


class TrustError(ForbiddenError):
    """Base of all refusals: the content must not be used."""

    reason = "content-trust"
    line: ClassVar[str] = "{error}"

    def explain(self, repository: str) -> str:
        """Docker's line about ``repository``."""
        return self.line.format(repository=repository, error=self)


class MalformedError(TrustError):
    """Metadata that can't be read: what, and what is wrong with it."""

    reason = "trust-malformed"
    line = "Warning: potential malicious behavior - trust data mismatch for remote repository {repository}: {error}"


class ExpiredError(TrustError):
    reason = "trust-expired"
    line = "Error: remote repository {repository} out-of-date: {error}"

    def __init__(self, role: str, expires: datetime) -> None:
        super().__init__(f"{role} expired at {expires.strftime('%a %b')} {expires.day} {expires:%H:%M:%S %Z %Y}")
        self.role = role
        self.expires = expires


class LowVersionError(TrustError):
    """Metadata older than what was seen before: a rollback."""

    reason = "trust-rollback"
    line = (
        "Warning: potential malicious behavior - trust data version is lower than expected for remote repository "
        "{repository}: {error}"
    )

    def __init__(self, role: str, actual: int, current: int) -> None:
        super().__init__(f"version {actual} is lower than current version {current}")
        self.role = role


class ThresholdError(TrustError):
    """Too few valid signatures."""

    reason = "trust-threshold"
    line = (
        "Warning: potential malicious behavior - trust data has insufficient signatures for remote repository "
        "{repository}: {error}"
    )

    def __init__(self, role: str) -> None:
        super().__init__(f"valid signatures did not meet threshold for {role}")
        self.role = role


class RootError(TrustError):
    """A root of trust that can't be believed in itself."""

    reason = "trust-root"
    line = "Warning: potential malicious behavior - trust data mismatch for remote repository {repository}: {error}"

    def __init__(self, why: str) -> None:
        super().__init__(f"could not validate the path to a trusted root: {why}")


class RotationError(RootError):
    """A new root that the known one does not vouch for."""

    reason = "trust-rotation"

    def __init__(self, why: str) -> None:
        TrustError.__init__(self, f"could not rotate trust to a new trusted root: {why}")


class ChecksumError(TrustError):
    """Bytes that are not those that were signed."""

    reason = "trust-checksum"
    line = "Warning: potential malicious behavior - trust data mismatch for remote repository {repository}: {error}"

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"checksum for {name} did not match: expected {expected}")
        self.name = name


class TooLargeError(TrustError):
    """More data than was announced: an attack by endless data."""

    reason = "trust-too-large"
    line = "Warning: potential malicious behavior - trust data mismatch for remote repository {repository}: {error}"

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(f"{name} is larger than {limit} bytes")


class NoTrustDataError(TrustError):
    """The server holds nothing about this repository."""

    reason = "trust-missing"
    line = "Error: remote trust data does not exist for {repository}: {error}"

    def __init__(self, server: str, repository: str) -> None:
        super().__init__(f"{server} does not have trust data for {repository}")


class MissingMetadataError(TrustError):
    """The server does not have one file that it must have."""

    reason = "trust-metadata-missing"
    line = "Error: trust data missing for remote repository {repository} or remote repository not found: {error}"

    def __init__(self, resource: str) -> None:
        super().__init__(f"{resource} trust data unavailable.  Has a notary repository been initialized?")


class NoSuchTargetError(TrustError):
    """The tag is not signed."""

    reason = "trust-no-target"

    def __init__(self, tag: str) -> None:
        super().__init__(f"No valid trust data for {tag}")
        self.tag = tag


class ServerError(TrustError):
    """The trust server can't be reached or does not answer as one."""

    reason = "trust-server"
    line = "Error: error contacting notary server: {error}"


class ServerUnreachableError(ServerError):
    """Nobody answered: no name, no route, no connection. A certificate that is not believed is an answer."""

    reason = "trust-server-unreachable"


class UploadRefusedError(TrustError):
    """The trust server did not take what was uploaded."""

    reason = "trust-upload"


class KeyNotFoundError(TrustError):
    reason = "trust-key-missing"
    line = "Error: signing keys for remote repository {repository} not found: {error}"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"signing key not found: {key_id}")
        self.key_id = key_id


class NoSigningKeysError(TrustError):
    """None of the private keys that may sign is here."""

    reason = "trust-no-keys"
    line = (
        "Error: could not find signing keys for remote repository {repository}, or could not decrypt signing key: "
        "{error}"
    )

    def __init__(self, key_ids: tuple[str, ...]) -> None:
        listed = ", ".join(key_ids)
        super().__init__(
            f"could not find necessary signing keys, at least one of these keys must be available: {listed}"
        )


class NoDelegationKeysError(TrustError):
    """There are signers, and this user is none of them."""

    reason = "trust-no-delegation-keys"

    def __init__(self) -> None:
        super().__init__("no valid signing keys for delegation roles")


class BadKeyError(TrustError):
    """A key file that can't be read as one."""

    reason = "trust-bad-key"


class PassphraseError(TrustError):
    """The passphrase is wrong."""

    reason = "trust-passphrase"

    def __init__(self) -> None:
        super().__init__("password invalid, operation has failed.")


class AttemptsError(TrustError):
    """Too many wrong passphrases."""

    reason = "trust-attempts"

    def __init__(self) -> None:
        super().__init__("maximum number of passphrase attempts exceeded")


class NotationError(TrustError):
    """Why a signature in Notation's form is not believed."""

    reason = "trust-notation"
