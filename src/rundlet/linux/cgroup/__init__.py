"""Control groups: one interface over v1, v2 and the hybrid of both, by writing files.

Those that systemd makes (its driver; :mod:`rundlet.linux.systemd`) are limited, read and emptied in the same way.
"""

from rundlet.linux.cgroup.group import Cgroup, remove_if_empty
from rundlet.linux.cgroup.layout import DELEGATED, V2, Layout, detect, managed, unified_options
from rundlet.linux.cgroup.stats import Stats

__all__ = ["DELEGATED", "V2", "Cgroup", "Layout", "Stats", "detect", "managed", "remove_if_empty", "unified_options"]
