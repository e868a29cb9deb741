"""What shims touch lies together in memory: run in an interpreter of its own, as the launcher is one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import rundlet

_SOURCE = str(Path(rundlet.__file__).parent.parent)
_PROLOGUE = "import gc, json, sys; sys.path.append(sys.argv[1]); from rundlet.runtime.shim import packing\n"


def _run(program: str) -> Any:
    command = [sys.executable, "-I", "-S", "-c", _PROLOGUE + program, _SOURCE]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


def test_packed_functions_do_what_they_did() -> None:
    found = _run("""
class Thing:
    def __init__(self, size=3): self.size = size
    @property
    def double(self): return (lambda: self.size * 2)()
    @staticmethod
    def never(): return "never"
    def many(self): return [number + self.size for number in range(2)]
def play():
    thing = Thing(size=4)
    return [thing.double, thing.many()]
first = play()
seen = packing.watch(play)
before = [play.__code__, Thing.__init__.__code__, Thing.double.fget.__code__, Thing.never.__code__]
packing.pack(seen)
after = [play.__code__, Thing.__init__.__code__, Thing.double.fget.__code__, Thing.never.__code__]
print(json.dumps([first == play(), [a is b for a, b in zip(before, after)], before == after, Thing.never()]))
""")
    assert found == [True, [False, False, False, True], True, "never"]


def test_packed_code_lies_together() -> None:
    """Of sixty functions, each of which was made between a hundred others, on few pages: how few the heap decides."""
    pages, packed = _run("""
names = {}
body = "".join(f"    value += other.attribute{number} * value\\n" for number in range(12))
for number in range(6000):
    exec(f"def function{number}(value, other):\\n{body}    return value", names)
for number in range(0, 6000, 7):
    if number % 100:
        del names[f"function{number}"]
used = [names[f"function{number}"] for number in range(0, 6000, 100)]
def touched(): return len({id(function.__code__) // 4096 for function in used})
seen = {id(function.__code__): function.__code__ for function in used}
gc.collect()
before = touched()
kept = packing.fill_gaps()
packing.pack(seen)
print(json.dumps([before, touched()]))
""")
    assert pages == 60
    assert packed <= 30


def test_new_objects_lie_together_where_the_gaps_are_filled() -> None:
    pages, filled = _run("""
def pages(size):
    items = [bytes(size - 33) for _ in range(32)]
    return len({id(item) // 4096 for item in items})
sizes = (64, 256, 512, 700, 1000)
old = [[bytes(size - 33) for _ in range(4000)] for size in sizes]
for items in old:
    del items[::37]
before = [pages(size) for size in sizes]
kept = packing.fill_gaps(whole=True)
print(json.dumps([before, [pages(size) for size in sizes]]))
""")
    sizes = (64, 256, 512, 700, 1000)
    assert all(count >= 8 for count in pages), pages
    assert all(count <= 32 * (size + 16) // 4096 + 3 for count, size in zip(filled, sizes, strict=True)), filled
