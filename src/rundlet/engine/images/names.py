"""Which names of an image that containers use go with ``image prune --all``."""

from collections.abc import Iterable

from rundlet.image.records import Image
from rundlet.image.removal import is_id_prefix, is_single
from rundlet.oci.reference import InvalidReferenceError, Reference


def spare_names(image: Image, wanted: Iterable[str]) -> list[Reference]:
    """Tags and digests that no container was made from, as Docker takes them: one repository's name is always left.

    ``wanted``: the containers' image as their users gave it, a name or an ID. Where it is only IDs, the last name in
    the order of the alphabet stays.
    """
    named = {name for text in wanted if (name := _name(image, text)) is not None}
    kept = {name.name for name in named}
    left = sorted((*image.tags, *image.digests), key=lambda name: name.familiar)
    gone: list[Reference] = []
    for name in list(left):
        if is_single(left):
            break
        if name not in left or name in named or (name.digest is not None and name.name in kept):
            continue
        gone.append(name)
        left.remove(name)
        if name.digest is None and not any(other.name == name.name and other.digest is None for other in left):
            left = [other for other in left if other.name != name.name]  # a repository's digests go with its last tag
    return gone


def _name(image: Image, text: str) -> Reference | None:
    if is_id_prefix(image.id, text):
        return None
    try:
        name = Reference.parse(text)
    except InvalidReferenceError:
        return None
    return name.with_digest(name.digest) if name.digest is not None else name.with_default_tag()
