"""The only place where the parts are joined: a module for each of the engine's rooms, and one for the whole."""

from rundlet.daemon.wiring.changes import check
from rundlet.daemon.wiring.engine import Engine, build, engine_id, make_directories

__all__ = ["Engine", "build", "check", "engine_id", "make_directories"]
