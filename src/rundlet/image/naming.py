"""Names that images are to get: by ``tag``, ``import`` and ``commit``, from a repository and a tag."""

from rundlet.image.errors import AmbiguousTagError, DigestAsNameError
from rundlet.oci.reference import Reference


def new_name(repository: str, tag: str = "") -> Reference:
    """``repository`` with ``tag``, which wins over one that it has, or else ``latest``.

    Raises InvalidReferenceError, DigestAsNameError, AmbiguousTagError.
    """
    reference = Reference.parse(repository)
    if reference.digest is not None:
        raise DigestAsNameError
    if tag:
        reference = reference.with_tag(tag)
    check(reference)
    return reference.with_default_tag()


def check(reference: Reference) -> None:
    """Raises AmbiguousTagError for what would be taken for an ID from then on."""
    if reference.familiar_name == "sha256":
        raise AmbiguousTagError
