"""``rundlet manifest rm``."""

from __future__ import annotations

from rundlet.cli.each import for_each
from rundlet.cli.manifests import image_name, remove_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "MANIFEST_LIST [MANIFEST_LIST...]"
SHORT = "Delete one or more manifest lists from local storage"
ARGS = (1, -1)
FLAGS = ()


def run(call: Invocation) -> int:
    def remove(text: str) -> None:
        remove_list(call.context, image_name(text))

    return for_each(call.context, call.args, remove, echo=False)
