"""What clients lend to builds before they begin: secrets (in memory only), SSH agents, further contexts."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final, Protocol

from rundlet.api.streams import Attachment
from rundlet.builder.workspace import Workspace
from rundlet.engine.builds.contexts import fetch_context, receive
from rundlet.engine.builds.kept import KeptContexts
from rundlet.engine.builds.workspaces import new_workspace
from rundlet.engine.context import Context
from rundlet.errors import InvalidParameterError, NotFoundError
from rundlet.transport import HttpClient
from rundlet.util.tasks import settled

_IDLE: Final = 900.0
"""Seconds that something lent waits for its build."""
_LIMIT: Final = 100
_SECRET_LIMIT: Final = 500 << 10
_ID: Final = 64


class AgentLines(Protocol):
    """Lines to one agent of a client's."""

    async def get(self) -> socket.socket:
        """The engine's end of one; waits for it."""

    def close(self) -> None:
        """No step will ask for another."""


class _Lines:
    """Those that the client has opened."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[socket.socket] = asyncio.Queue()
        self.put = self._queue.put_nowait
        self.get = self._queue.get

    def close(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait().close()


@dataclass(slots=True)
class Lent:
    """Of one session."""

    since: float
    secrets: dict[str, bytes] = field(default_factory=dict)
    contexts: dict[str, Workspace] = field(default_factory=dict)
    kept: dict[str, AsyncExitStack] = field(default_factory=dict)
    """Of those contexts that stay after their builds: what is to be closed before their workspaces go."""
    agents: dict[str, AgentLines] = field(default_factory=dict)
    busy: int = 0
    taken: bool = False


class Lendings:
    """By session, which is a name that the client has made up."""

    def __init__(self, context: Context, kept: KeptContexts) -> None:
        self._context = context
        self._kept = kept
        self._lent: dict[str, Lent] = {}

    def take(self, session: str) -> Lent:
        """All that was lent to ``session``, until :meth:`release`; more lines to an agent may come meanwhile.

        Raises NotFoundError, also for a session that has a build already.
        """
        if not session:
            return Lent(0.0)
        lent = self._lent.get(session)
        if lent is None or lent.taken:
            raise NotFoundError(f"no such build session: {session}")
        lent.taken = True
        return lent

    def add_secrets(self, session: str, secrets: dict[str, bytes]) -> None:
        """Raises InvalidParameterError: one is too large."""
        for name, value in secrets.items():
            if len(value) > _SECRET_LIMIT:
                raise InvalidParameterError(f"secret {name} too big. max size {_SECRET_LIMIT >> 10}KB")
        self._of(session).secrets.update(secrets)

    async def add_context(self, session: str, name: str, body: AsyncIterator[bytes], announced: str = "") -> None:
        """Unpack ``body`` as the context ``name``; over what there is of one that was ``announced``.

        Raises BadContextError, NotFoundError.
        """
        lent = self._of(session)
        workspace = new_workspace(self._context)
        lent.busy += 1
        try:
            await settled(asyncio.to_thread(workspace.make))
            async with AsyncExitStack() as stack:
                kept = await stack.enter_async_context(self._kept.using(announced, workspace))
                await receive(workspace, body)
                if kept is not None:
                    kept.complete = True
                    workspace.memo = kept.memo
                await self._drop(lent, name)
                lent.contexts[name], lent.kept[name] = workspace, stack.pop_all()
        except BaseException:
            await asyncio.shield(asyncio.to_thread(workspace.remove))
            raise
        finally:
            lent.busy -= 1
            lent.since = time.monotonic()  # the next one may come long after the first

    async def _drop(self, lent: Lent, name: str) -> None:
        """Forget one context, if there is one of that name."""
        stack, workspace = lent.kept.pop(name, None), lent.contexts.pop(name, None)
        if stack is not None:
            await stack.aclose()
        if workspace is not None:
            await asyncio.to_thread(workspace.remove)

    async def fetch(self, lent: Lent, urls: Iterable[str], http: HttpClient) -> None:
        """What contexts mean that are elsewhere, each under its URL. Raises BuildError, TransportError."""
        for url in dict.fromkeys(urls):
            workspace = lent.contexts[url] = new_workspace(self._context)
            await settled(asyncio.to_thread(workspace.make))
            await fetch_context(workspace, url, http, lent.secrets)

    def add_agent(self, session: str, name: str) -> Attachment:
        """A line to the client's agent; its engine's end waits for a step that speaks on it."""
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        lines = self._of(session).agents.setdefault(name, _Lines())
        assert isinstance(lines, _Lines)
        lines.put(theirs)
        # As a terminal's it would be searched for keys to detach with.
        return Attachment(tty=False, socket=ours)

    async def release(self, lent: Lent) -> None:
        """Forget it all."""
        self._lent = {session: other for session, other in self._lent.items() if other is not lent}
        lent.secrets.clear()
        for lines in lent.agents.values():
            lines.close()
        for name in list(lent.contexts):
            await self._drop(lent, name)

    async def expire(self) -> None:
        """Forget what no build has come for."""
        now = time.monotonic()
        for lent in list(self._lent.values()):
            if now - lent.since > _IDLE and not lent.busy and not lent.taken:
                await self.release(lent)

    def _of(self, session: str) -> Lent:
        if not session.isalnum() or not session.isascii() or len(session) > _ID:
            raise InvalidParameterError(f"invalid build session: {session[:_ID]}")
        lent = self._lent.get(session)
        if lent is None:
            if len(self._lent) >= _LIMIT:
                raise InvalidParameterError("too many build sessions")
            lent = self._lent[session] = Lent(time.monotonic())
        return lent
