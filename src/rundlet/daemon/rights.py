"""Whether this process may make mounts and networks as it is: root can, but not root of a container without rights."""

import os
from typing import Final

_NEEDED: Final = 1 << 12 | 1 << 21  # CAP_NET_ADMIN, CAP_SYS_ADMIN


def sufficient() -> bool:
    """True for root with the capabilities that an engine needs; without them it needs a user namespace of its own."""
    if os.geteuid() != 0:
        return False
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
            effective = next(line.split()[1] for line in file if line.startswith("CapEff:"))
    except (OSError, StopIteration):
        return True
    return int(effective, 16) & _NEEDED == _NEEDED
