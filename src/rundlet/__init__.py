"""Rundlet: a container engine in Python that speaks Docker.

``rundlet.connect()`` is the way in from Python: see ``rundlet.sdk``. This file is imported by every process of Rundlet,
the shim included: it imports nothing until that is asked for.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.sdk.aio import Connecting

__version__ = "0.1.0"


def connect(host: str | None = None) -> "Connecting":
    """An engine, for ``with`` or ``async with``.

    ``host`` as for the command line's ``-H`` (``unix:///…``, ``tcp://…``, ``ssh://…``); without it the engine is found
    as the command line finds it, and the user's own is started when it does not run. Entering raises EngineError.
    """
    from rundlet.sdk.aio import Connecting

    return Connecting(host)
