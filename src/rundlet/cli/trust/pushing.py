"""Signing what was pushed."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.trust.authoring import AuthoredRepository
from rundlet.cli.trust.names import explained
from rundlet.trust.metadata import TARGETS, FileMeta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName


def sign_pushed(context: Context, name: ImageName, pushed: list[Any]) -> None:
    """Sign the tag of ``name`` for the digest that the engine said it pushed. Raises CommandError."""
    meta = pushed_manifest(name, pushed)
    context.say("Signing and pushing trust metadata")
    repository = AuthoredRepository(context, name)
    with explained(name.name):
        trusted = repository.fetch_or_none()
        if trusted is None:
            draft = repository.initial()
            context.say(f'Finished initializing "{name.name}"')
            draft.put(TARGETS, name.tag, meta)
        else:
            draft = repository.draft(trusted)
    with explained(name.name, f"failed to sign {name.name}:{name.tag}: "):
        if trusted is not None:
            for role in draft.signable(name.tag, repository.keys):
                draft.put(role, name.tag, meta)
        repository.publish(draft)
    context.say(f"Successfully signed {name.name}:{name.tag}")


def pushed_manifest(name: ImageName, pushed: list[Any]) -> FileMeta:
    """Of the engine's ``aux`` records {Tag, Digest, Size}. Raises CommandError."""
    found = [item for item in pushed if isinstance(item, dict) and item.get("Tag") == name.tag]
    if len(found) != 1:
        raise CommandError("no targets found, provide a specific tag in order to sign it")
    algorithm, _, digits = str(found[0].get("Digest")).partition(":")
    try:
        return FileMeta({algorithm: bytes.fromhex(digits)}, int(found[0]["Size"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise CommandError("the engine did not say what it pushed: nothing is signed") from exc
