"""Devices by the names that their vendors describe them under: the Container Device Interface."""

from rundlet.engine.cdi.edits import Edits, apply
from rundlet.engine.cdi.registry import load
from rundlet.engine.cdi.requests import edits_for

__all__ = ["Edits", "apply", "edits_for", "load"]
