"""``rundlet trust revoke``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.cli.reference import ImageName

USAGE = "[OPTIONS] IMAGE[:TAG]"
SHORT = "Remove trust for an image"
ARGS = (1, 1)
FLAGS = (("yes", "y", "bool", "Do not prompt for confirmation"),)


def run(call: Invocation) -> int:
    from rundlet.cli.pruning import confirm
    from rundlet.cli.reference import parse
    from rundlet.cli.trust.names import explained

    remote = call.args[0]
    name = parse(remote)
    if name.digest:
        raise CommandError("cannot use a digest reference for IMAGE:TAG")
    question = f"Confirm you would like to delete all signature data for {remote}?"
    if not name.tag and not call.flags["yes"] and not confirm(question):
        return 0
    with explained(name.name, f"could not remove signature for {remote}: "):
        _revoke(call, name)
    call.context.say(f"Successfully deleted signature for {remote}")
    return 0


def _revoke(call: Invocation, name: ImageName) -> None:
    from rundlet.cli.trust.authoring import AuthoredRepository
    from rundlet.trust.errors import TrustError

    repository = AuthoredRepository(call.context, name)
    trusted = repository.fetch()
    tags = [trusted.find(name.tag).name] if name.tag else sorted(trusted.released())
    if not tags:
        raise TrustError("no signed tags to remove")
    draft = repository.draft(trusted)
    for tag in tags:
        for role in draft.signable(tag, repository.keys):
            draft.remove(role, tag)
    repository.publish(draft)
