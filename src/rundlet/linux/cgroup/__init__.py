"""Control groups: one interface over v1, v2 and the hybrid of both, by writing files (the cgroupfs driver)."""

from rundlet.linux.cgroup.group import Cgroup, remove_if_empty
from rundlet.linux.cgroup.layout import DELEGATED, V2, Layout, detect, unified_options
from rundlet.linux.cgroup.stats import Stats

__all__ = ["DELEGATED", "V2", "Cgroup", "Layout", "Stats", "detect", "remove_if_empty", "unified_options"]
