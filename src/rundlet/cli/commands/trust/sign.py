"""``rundlet trust sign``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.cli.reference import ImageName
    from rundlet.cli.trust.authoring import AuthoredRepository
    from rundlet.trust.signing import Draft
    from rundlet.trust.trusted_set import TrustedSet

USAGE = "IMAGE:TAG"
SHORT = "Sign an image"
ARGS = (1, 1)
FLAGS = (
    ("cosign", "", "string", "Sign with this private key (PEM) in cosign's form instead, beside the image"),
    ("local", "", "bool", "Sign a locally tagged image"),
)


def run(call: Invocation) -> int:
    from rundlet.cli.trust.authoring import AuthoredRepository
    from rundlet.cli.trust.names import explained, with_tag

    name = with_tag(call.args[0])
    if call.flags["cosign"]:
        from rundlet.cli.trust.cosigning import sign_with_cosign

        sign_with_cosign(call.context, name, call.flags["cosign"])
        return 0
    repository = AuthoredRepository(call.context, name)
    with explained(name.name):
        trusted = repository.fetch_or_none()
        if trusted is None:
            trusted = _initialise(call, repository)
        if call.flags["local"] or name.tag not in trusted.released():
            _require_local(call)
            call.context.warn(
                f"Signing and pushing trust data for local image {call.args[0]}, may overwrite remote trust data"
            )
            return _push(call, name)
        return _resign(call, name, repository, trusted)


def _require_local(call: Invocation) -> None:
    """Raises ApiError."""
    from rundlet.cli.each import object_path

    call.context.session.get(object_path("image", call.args[0], "json"))


def _push(call: Invocation, name: ImageName) -> int:
    from rundlet.cli.pushing import push
    from rundlet.cli.trust.pushing import sign_pushed

    sign_pushed(call.context, name, push(call.context, name, sys.stdout))
    return 0


def _initialise(call: Invocation, repository: AuthoredRepository) -> TrustedSet:
    """Trust data for a repository that has none: the user as its first signer. Raises TrustError, CommandError."""
    from rundlet.cli.commands.trust.key.generate import check_name
    from rundlet.cli.credentials import config_key, lookup

    _require_local(call)
    signer = lookup(call.context, config_key(repository.name.domain)).get("username", "").lower()
    if signer:
        check_name("signer", signer)
    draft = repository.initial()
    if signer:
        draft.add_signer(signer, [repository.signer_key(signer).public])
    repository.publish(draft)
    if signer:
        call.context.say(f"Created signer: {signer}")
    call.context.say(f"Finished initializing signed repository for {call.args[0]}")
    return repository.fetch()


def _resign(call: Invocation, name: ImageName, repository: AuthoredRepository, trusted: TrustedSet) -> int:
    """Add this user's signature to what is signed already."""
    from rundlet.cli.trust.info import signed_tags
    from rundlet.cli.trust.names import explained

    call.context.say(f"Signing and pushing trust metadata for {call.args[0]}")
    draft: Draft = repository.draft(trusted)
    meta = trusted.find(name.tag).meta
    with explained(name.name, f"failed to sign {name.name}:{name.tag}: "):
        for role in draft.signable(name.tag, repository.keys):
            draft.put(role, name.tag, meta)
    for row in signed_tags(trusted, name.tag)[:1]:
        call.context.say(
            f"Existing signatures for tag {row['SignedTag']} digest {row['Digest']} from:\n"
            f"{', '.join(sorted(row['Signers']))}"
        )
    with explained(name.name, f"failed to sign {name.name}:{name.tag}: "):
        repository.publish(draft)
    call.context.say(f"Successfully signed {name.name}:{name.tag}")
    return 0
