"""The C library's heap."""

import ctypes
from typing import Final

_library: Final = ctypes.CDLL(None)


def trim() -> None:
    """Give the pages that hold nothing any more back to the machine: milliseconds, without the interpreter's lock.

    Only glibc keeps them and has a call for it: elsewhere nothing is done. See: malloc_trim(3).
    """
    function = getattr(_library, "malloc_trim", None)
    if function is not None:
        function(0)
