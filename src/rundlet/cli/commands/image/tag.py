"""``rundlet tag``."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.exit import CommandError
from rundlet.cli.reference import is_id, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.cli.reference import ImageName

USAGE = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]"
SHORT = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"
ARGS = (2, 2)
FLAGS = ()
INTERSPERSED = False


def _parsed(text: str) -> ImageName:
    try:
        return parse(text)
    except CommandError as exc:
        raise CommandError(f'Error parsing reference: "{text}" is not a valid repository/tag: {exc.message}') from exc


def run(call: Invocation) -> int:
    source, target = call.args
    if not is_id(source):
        _parsed(source)
    name = _parsed(target)
    if name.digest:
        raise CommandError("refusing to create a tag with a digest reference")
    name = name.with_default_tag()
    query = {"repo": name.familiar_name, "tag": name.tag}
    call.context.session.post(object_path("image", source, "tag"), query)
    return 0
