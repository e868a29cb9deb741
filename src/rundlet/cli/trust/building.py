"""The images that a Dockerfile names, as the digests that are signed for them.

Only names are looked for, not what the file does: a name that is missed, or that has a variable in it, has no digest,
and the engine refuses it.
"""

from __future__ import annotations

import re

from rundlet.cli.exit import CommandError
from rundlet.cli.reference import parse
from rundlet.cli.trust.pulling import signed_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.context import Context

_FROM = re.compile(r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(?P<image>\S+)(?:[ \t]+AS[ \t]+(?P<stage>\S+))?", re.I | re.M)
_OTHER = re.compile(r"^[ \t]*(?:COPY|RUN)\b.*?(?:--from=|[,=]from=)(?P<image>[^\s,]+)", re.I | re.M)


def signed_images(context: Context, dockerfile: bytes | None) -> dict[str, str]:
    """References by digest, by the names in the Dockerfile. Raises CommandError for what is not signed."""
    if dockerfile is None:
        raise CommandError("content trust needs a Dockerfile that is on this side, not one that the engine fetches")
    return {name: str(signed_reference(context, parse(name).with_default_tag())) for name in names(dockerfile)}


def names(dockerfile: bytes) -> list[str]:
    """Of images that are not stages, not fixed to a digest and without variables; each once."""
    text = dockerfile.decode("utf-8", "replace")
    stages = {match["stage"].lower() for match in _FROM.finditer(text) if match["stage"]}
    found = [match["image"] for pattern in (_FROM, _OTHER) for match in pattern.finditer(text)]
    return [
        name
        for name in dict.fromkeys(found)
        if name.lower() not in stages and name != "scratch" and not name.isdigit() and not set("$@\\`\"'") & set(name)
    ]
