"""Log drivers: which options they have, what they mean, and where a container's log is."""

from rundlet.engine.logdrivers.attributes import Subject
from rundlet.engine.logdrivers.options import NAMES, check, merged
from rundlet.engine.logdrivers.places import readable_path, written_path
from rundlet.engine.logdrivers.plan import LogDriverError, LogPlan, plan, probe

__all__ = [
    "NAMES",
    "LogDriverError",
    "LogPlan",
    "Subject",
    "check",
    "merged",
    "plan",
    "probe",
    "readable_path",
    "written_path",
]
