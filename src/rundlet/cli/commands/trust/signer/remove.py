"""``rundlet trust signer remove``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.trust.metadata import Delegation
    from rundlet.trust.trusted_set import TrustedSet

USAGE = "[OPTIONS] NAME REPOSITORY [REPOSITORY...]"
SHORT = "Remove a signer"
ARGS = (2, -1)
FLAGS = (("force", "f", "bool", "Do not prompt for confirmation before removing the most recent signer"),)


def run(call: Invocation) -> int:
    from rundlet.cli.trust.names import explained

    signer, *repositories = call.args
    failed = []
    for repository in repositories:
        call.context.say(f'Removing signer "{signer}" from {repository}...')
        try:
            with explained(repository):
                _remove(call, signer, repository)
        except CommandError as exc:
            call.context.warn(f"{exc.message}\n")
            failed.append(repository)
    if failed:
        raise CommandError(f"error removing signer from: {', '.join(failed)}")
    return 0


def _remove(call: Invocation, signer: str, repository: str) -> None:
    from rundlet.cli.pruning import confirm
    from rundlet.cli.reference import parse
    from rundlet.cli.trust.authoring import AuthoredRepository

    if signer == "releases":
        raise CommandError("releases is a reserved keyword and cannot be removed")
    trust = AuthoredRepository(call.context, parse(repository))
    trusted = trust.fetch()
    role = trusted.delegation(f"targets/{signer}")
    if role is None:
        raise CommandError(f"no signer {signer} for repository {repository}")
    question = (
        f'The signer "{signer}" signed the last released version of {repository}. Removing this signer will make '
        f"{repository} unpullable. Are you sure you want to continue?"
    )
    if _is_last(trusted, role) and not call.flags["force"] and not confirm(question):
        return
    draft = trust.draft(trusted)
    draft.remove_signer(signer)
    trust.publish(draft)
    call.context.say(f"Successfully removed {signer} from {repository}\n")


def _is_last(trusted: TrustedSet, role: Delegation) -> bool:
    """Whether nobody else's signature is on the releases. Raises CommandError."""
    from rundlet.trust.metadata import RELEASES

    signed = trusted.signers_of(RELEASES)
    releases = trusted.delegation(RELEASES)
    if not signed or releases is None:
        raise CommandError("all signed tags are currently revoked, use docker trust sign to fix")
    return len([key for key in signed if key not in role.key_ids]) < releases.threshold
