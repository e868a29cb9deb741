"""Putting side by side in memory what shims touch, in the launcher, before anything is forked from it.

A page that a shim writes to is copied for it, and to call a function, even to look at an object, is to count a
reference on its page. What the modules' imports have scattered over hundreds of pages fits on a few.
"""

import gc
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

_POOL: Final = 16384  # where the interpreter's pools are of another size, a few more pages are copied
_FRESH: Final = 20  # so many objects side by side are in a new pool
_NUMBERS: Final = 1100  # fill two pools; one by one they can't be looked at, as the addresses are numbers, too
_SMALLEST: Final = 48  # bytes
_LARGEST: Final = 512  # larger objects don't come from pools
_LARGE: Final = (4096, 2048, 1536, 1024, 896, 768, 704, 640, 608, 576, 560, 544, 528)
_MOST: Final = 1 << 20  # bytes of one size; other allocators than those that are meant here don't go on for ever
_SIDE_BY_SIDE: Final = 4
_CACHED: Final = 1040  # bytes; libc keeps smaller ones as they are
_EMPTY: Final = b"".__sizeof__()
_SPARE: Final = 16  # bytes between two objects of libc's

Codes = dict[int, CodeType]


def watch(play: Callable[[], None]) -> Codes:
    """Which code ``play`` runs, by identity. Raises: what it raises."""
    codes: Codes = {}

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            codes[id(frame.f_code)] = frame.f_code

    sys.setprofile(note)
    try:
        play()
    finally:
        sys.setprofile(None)
    return codes


def pack(codes: Codes) -> None:
    """Give the functions that have these codes copies of them, which lie together if the gaps were filled before.

    A copy has forgotten what the interpreter had learnt.
    """
    copies: Codes = {}
    place = {code: number for number, code in enumerate(codes)}
    functions = [item for item in gc.get_objects() if type(item) is FunctionType and id(item.__code__) in place]
    for function in sorted(functions, key=lambda item: place[id(item.__code__)]):
        function.__code__ = _copy(function.__code__, codes, copies)


def _copy(code: CodeType, codes: Codes, copies: Codes) -> CodeType:
    if id(code) not in codes:
        return code
    if id(code) not in copies:
        constants = tuple(_copy(item, codes, copies) if isinstance(item, CodeType) else item for item in code.co_consts)
        copies[id(code)] = code.replace(co_consts=constants)
    return copies[id(code)]


def fill_gaps(*, whole: bool = False) -> list[object]:
    """Allocate until neither the interpreter's pools nor libc's heap have gaps left; what is returned must be kept.

    New objects would otherwise go into gaps on a hundred pages; so they share a few new ones. ``whole``: the pools in
    use are filled to their ends, so that nothing writes to these any more. Costs the launcher half a megabyte.
    """
    kept: list[object] = []
    for size in _LARGE:
        _fill_heap(size, kept)
    kept += map(float, range(_NUMBERS))
    for size in range(_SMALLEST, _LARGEST + 1, 16):
        _fill_pools(size, kept, whole=whole)
    return kept


def _fill_heap(size: int, kept: list[object]) -> None:
    in_a_row, before = 0, 0
    for _ in range(_MOST // size):
        item = _object(size)
        kept.append(item)
        in_a_row = in_a_row + 1 if 0 < id(item) - before <= size + _SPARE else 1
        before = id(item)
        if in_a_row >= _SIDE_BY_SIDE:
            if size > _CACHED:
                del item, kept[-in_a_row:]  # they were beyond all gaps, and go back to where they came from
            return


def _fill_pools(size: int, kept: list[object], *, whole: bool) -> None:
    in_a_row, before = 0, 0
    for _ in range(_MOST // size):
        item = _object(size)
        kept.append(item)
        in_a_row = in_a_row + 1 if id(item) == before + size else 1
        before = id(item)
        if in_a_row >= _FRESH and (not whole or before % _POOL + 2 * size > _POOL):
            return


def _object(size: int) -> object:
    """A new object of so many bytes, 34 at least."""
    return bytes(size - _EMPTY)
