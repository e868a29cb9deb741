"""Who asks: the ``User-Agent`` of what goes out, with the one inside it of the client it is asked for, as Docker's."""

from contextvars import ContextVar
from typing import Final

from rundlet import __version__

USER_AGENT: Final = f"rundlet/{__version__} (container engine)"
CLIENT: ContextVar[str] = ContextVar("client", default="")
"""The ``User-Agent`` of the client whose request is being answered; tasks that it starts have it, too."""

_LONGEST: Final = 256
_ESCAPED: Final = {ord(character): f"\\{character}" for character in "();\\"}


def passed_on(agent: str) -> str:
    """``agent``, with the client it works for where there is one."""
    client = "".join(character for character in CLIENT.get() if " " <= character <= "~")[:_LONGEST]
    return f"{agent} UpstreamClient({client.translate(_ESCAPED)})" if client else agent
