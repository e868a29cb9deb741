"""Memory given back to the machine."""

import platform
import subprocess
import sys

from tests.conftest import lacking

_PROGRAM = """
from rundlet.linux import heap

def private():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))

# Too large for Python's own allocator, too small for pages of their own: what is kept at the top holds all of it.
many = [bytes(2000) for _ in range(20_000)]
last = bytes(2001)
del many
before = private()
heap.trim()
print(before - private())
"""


def test_free_memory_below_used_memory_goes_back() -> None:
    if platform.libc_ver()[0] != "glibc":
        lacking("glibc")
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 20_000  # KiB
