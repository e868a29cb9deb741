"""System call filters: a profile becomes a BPF program in the engine, the shim's children only load it.

``loader`` is all that a shim imports. ``compiler`` (with ``model``, ``bpf``, ``syscalls`` and ``profile``) stays in the
engine: its tables would cost every container memory.
"""

from rundlet.linux.seccomp.loader import load

__all__ = ["load"]
