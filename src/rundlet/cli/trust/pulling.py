"""Names to signed digests: what ``pull``, ``create`` and ``run`` do when images have to be signed."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.pulling import pull_or_explain
from rundlet.cli.reference import ImageName
from rundlet.cli.trust.names import explained
from rundlet.cli.trust.repository import TrustedRepository
from rundlet.client.wire import quote
from rundlet.trust.errors import NoSuchTargetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from rundlet.cli.context import Context
    from rundlet.trust.trusted_set import Signed


def signed_reference(context: Context, name: ImageName) -> ImageName:
    """The digest that ``name``'s tag is signed for. Raises CommandError."""
    with explained(name.name):
        signed = TrustedRepository(context, name).fetch(releases_only=True).find(name.tag)
        return _by_digest(name, signed)


def signed_references(context: Context, name: ImageName) -> list[tuple[str, ImageName]]:
    """Every signed tag of a repository with its digest. Raises CommandError."""
    with explained(name.name):
        released = TrustedRepository(context, name).fetch(releases_only=True).released()
    if not released:
        raise CommandError(f"No trusted tags for {name.name}")
    return [(tag, _by_digest(name, signed)) for tag, signed in sorted(released.items())]


def _by_digest(name: ImageName, signed: Signed) -> ImageName:
    digest = signed.meta.hashes.get("sha256")
    if digest is None:
        raise NoSuchTargetError(signed.name)
    return ImageName(name.domain, name.path, "", f"sha256:{digest.hex()}")


def pull_signed(context: Context, name: ImageName, out: TextIO, *, platform: str, quiet: bool, all_tags: bool) -> None:
    """Pull what is signed, by digest, and tag it. Raises CommandError."""
    wanted = signed_references(context, name) if all_tags else [(name.tag, signed_reference(context, name))]
    for number, (tag, reference) in enumerate(wanted, 1):
        if not quiet:
            out.write(f"Pull ({number} of {len(wanted)}): {name.familiar_name}:{tag}@{reference.digest}\n")
            out.flush()
        pull_or_explain(context, reference, out, platform=platform, quiet=quiet)
        tag_signed(context, reference, tag, quiet=quiet)


def tag_signed(context: Context, reference: ImageName, tag: str, *, quiet: bool) -> None:
    """Give a pulled digest the tag that it is signed for."""
    if not quiet:
        context.warn(f"Tagging {reference.familiar} as {reference.familiar_name}:{tag}")
    path = f"/images/{quote(reference.familiar, '/:@')}/tag"
    context.session.post(path, {"repo": reference.familiar_name, "tag": tag})
