"""Signals of STOPSIGNAL."""

import re
import signal
from typing import Final

_NAMES: Final = frozenset(one.name.removeprefix("SIG") for one in signal.Signals)
_REAL_TIME: Final = re.compile(r"RT(?:MIN\+(\d+)|MAX-(\d+))\Z", re.ASCII)


def is_signal(text: str) -> bool:
    """Whether ``text`` is a signal's name, with or without SIG, in any letters, or a number that is not 0."""
    if text.isascii() and text.isdigit():
        return int(text) > 0
    name = text.upper().removeprefix("SIG")
    found = _REAL_TIME.match(name)
    if found is not None:
        return int(found[1] or found[2]) <= signal.SIGRTMAX - signal.SIGRTMIN
    return name in _NAMES
