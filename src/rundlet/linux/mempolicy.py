"""Which memory nodes the calling thread, and what it starts, gets its memory from. See: set_mempolicy(2)."""

import errno
from collections.abc import Collection
from typing import Final

from rundlet.linux import libc

MODES: Final = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
FLAGS: Final = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
NODES: Final = 1024
"""No kernel knows more of them (CONFIG_NODES_SHIFT)."""


def apply(mode: int, nodes: Collection[int]) -> None:
    """``mode`` with its flags, for memory of ``nodes``. Raises: OSError."""
    mask = sum(1 << node for node in nodes)
    # The kernel takes one less than what it is told.
    size = NODES + 1 if nodes else 0
    try:
        libc.call("set_mempolicy", mode, mask.to_bytes(NODES // 8, "little") if nodes else None, size)
    except OSError as exc:
        raise OSError(exc.errno or errno.EINVAL, exc.strerror, "set_mempolicy") from None
