"""Commands that do the same to several objects: each is tried, each failure is one line, the exit code tells."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rundlet.cli.context import Context
    from rundlet.client.http import Connection
    from rundlet.client.session import Session


AT_ONCE = 50
"""Requests that are under way together, as of Docker's command line."""
NOTHING = ""
"""What an action returns to have nothing printed."""


def for_each(
    context: Context, names: Iterable[str], action: Callable[[str], str | None], *, echo: bool = True, prefix: str = ""
) -> int:
    """Call ``action`` with each name and print what it returns (the name itself when None). Returns the exit code."""
    failed = False
    for name in names:
        try:
            text = action(name)
        except (ApiError, CommandError) as exc:
            context.warn(f"{prefix}{exc}")
            failed = True
            continue
        if echo and text != NOTHING:
            context.say(name if text is None else text)
    return 1 if failed else 0


class Ahead:
    """Requests for several objects that are under way together, answered in their order.

    What the engine takes its time for (stopping, removing) takes it once and not for each. Of the same name twice, the
    second is asked for when the first has its answer.
    """

    def __init__(self, session: Session, names: Iterable[str], send: Callable[[str], Connection]) -> None:
        """``send`` writes the request for a name."""
        self._session = session
        self._names = list(names)
        self._send = send
        self._sent: list[tuple[str, Connection | ApiError | CommandError]] = []

    def answer(self, name: str) -> None:
        """An action of :func:`for_each`: the answer for the next name. Raises what its request did."""
        self._go_on()
        outcome = self._sent.pop(0)[1]
        if isinstance(outcome, Exception):
            raise outcome
        try:
            self._session.answer(outcome).read()
        finally:
            self._session.release(outcome)

    def _go_on(self) -> None:
        while self._names and len(self._sent) < AT_ONCE:
            name = self._names[0]
            if any(name == other for other, _outcome in self._sent):
                return
            try:
                self._sent.append((name, self._send(name)))
            except (ApiError, CommandError) as exc:
                self._sent.append((name, exc))
            del self._names[0]


def check_name(kind: str, name: str) -> None:
    """Raises CommandError for an empty name, in Docker's words."""
    if not name.strip():
        if kind == "image":
            raise CommandError(f"Error: No such image: {name}")
        raise CommandError(f"invalid {kind} name or ID: value is empty")


def container_path(name: str, *rest: str) -> str:
    """``/containers/<name>/…`` with the name made safe for a URL. Raises CommandError for an empty name."""
    return object_path("container", name, *rest)


def object_path(kind: str, name: str, *rest: str) -> str:
    """The same for an object of any kind. Without a name, the path would be that of all of them, or of none."""
    from rundlet.client.wire import quote

    check_name(kind, name)
    return "/".join((f"/{kind}s", quote(name, "/:@" if kind == "image" else ""), *rest))
