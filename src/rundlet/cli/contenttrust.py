"""Whether images have to be signed: the one question about trust that every ``pull`` and ``run`` asks."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

FLAG = "disable-content-trust"
VARIABLES = ("RUNDLET_CONTENT_TRUST", "DOCKER_CONTENT_TRUST")
_NO = frozenset(("0", "f", "F", "false", "FALSE", "False"))


def switched_on() -> bool:
    """What the environment says. Anything that does not mean no means yes: a typing error must not switch trust off."""
    for name in VARIABLES:
        value = os.environ.get(name, "")
        if value:
            return value not in _NO
    return False


def enabled(call: Invocation) -> bool:
    """The flag ``--disable-content-trust`` where it was given, else the environment."""
    if call.given(FLAG):
        return not call.flags[FLAG]
    return switched_on()
