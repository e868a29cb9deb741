"""``rundlet trust signer add``."""

from __future__ import annotations

from rundlet.cli.commands.trust.key.generate import check_name
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.trust.keys import PublicKey

USAGE = "OPTIONS NAME REPOSITORY [REPOSITORY...]"
SHORT = "Add a signer"
ARGS = (2, -1)
FLAGS = (("key", "", "list", "Path to the signer's public key file"),)


def run(call: Invocation) -> int:
    from rundlet.cli.trust.names import explained

    signer, *repositories = call.args
    check_name("signer", signer)
    if signer == "releases":
        raise CommandError("releases is a reserved keyword, use a different signer name")
    if not call.flags["key"]:
        raise CommandError("path to a public key must be provided using the `--key` flag")
    keys = [_public_key(path) for path in call.flags["key"]]
    failed = []
    for repository in repositories:
        call.context.say(f'Adding signer "{signer}" to {repository}...')
        try:
            with explained(repository):
                _add(call, signer, repository, keys)
        except CommandError as exc:
            call.context.warn(f"{exc.message}\n")
            failed.append(repository)
        else:
            call.context.say(f"Successfully added signer: {signer} to {repository}\n")
    if failed:
        raise CommandError(f"failed to add signer to: {', '.join(failed)}")
    return 0


def _public_key(path: str) -> PublicKey:
    from rundlet.trust.errors import BadKeyError
    from rundlet.trust.keyfile import FILE_LIMIT, decode_public_file

    try:
        with open(path, "rb") as file:
            return decode_public_file(file.read(FILE_LIMIT))
    except OSError as exc:
        reason = f"open {path}: {(exc.strerror or '').lower()}"
        raise CommandError(f"unable to read public key from file: {reason}") from exc
    except BadKeyError as exc:
        raise CommandError(f"could not parse public key from file: {path}: {exc}") from exc


def _add(call: Invocation, signer: str, repository: str, keys: list[PublicKey]) -> None:
    from rundlet.cli.reference import parse
    from rundlet.cli.trust.authoring import AuthoredRepository

    trust = AuthoredRepository(call.context, parse(repository))
    trusted = trust.fetch_or_none()
    if trusted is None:
        call.context.say(f"Initializing signed repository for {repository}...")
        draft = trust.initial()
        call.context.say(f'Successfully initialized "{repository}"')
    else:
        draft = trust.draft(trusted)
    draft.add_signer(signer, keys)
    trust.publish(draft)
