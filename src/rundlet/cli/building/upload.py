"""The context goes up while the engine's messages come down."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from rundlet.client.http import Response
    from rundlet.client.session import Session


_REPORT = 0.1
"""Seconds between two reports of what has been sent."""


class Upload:
    """One POST whose body is sent by a thread of its own; ``report`` hears there of bytes and of the end."""

    def __init__(
        self,
        session: Session,
        path: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        report: Callable[[int, bool], None],
    ) -> None:
        self._session = session
        self._report = report
        self._path = path
        self._query = query
        self._headers = headers
        self._failure: CommandError | ClientError | None = None

    def start(self, body: Iterator[bytes] | None) -> Callable[[], Response]:
        """Begin; the result gives the answer, once it begins. Raises CommandError, ClientError, ApiError."""
        # The module threading would cost more than the rest of a small build's start.
        from _thread import start_new_thread

        connection = self._session.connect()

        def send() -> None:
            try:
                self._session.send(
                    "POST",
                    self._path,
                    query=self._query,
                    stream=None if body is None else self._counted(body),
                    headers=self._headers,
                    connection=connection,
                )
            except (CommandError, ClientError) as exc:
                self._failure = exc
                # Without its end the engine can't take the body for a whole one.
                connection.socket.shutdown(2)

        start_new_thread(send, ())

        def answer() -> Response:
            try:
                return self._session.answer(connection)
            except ClientError:
                self.check()
                raise

        return answer

    def check(self) -> None:
        """Raise what ended the sending early, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _counted(self, body: Iterator[bytes]) -> Iterator[bytes]:
        from time import monotonic

        sent, next_report = 0, 0.0
        for piece in body:
            yield piece
            sent += len(piece)
            if monotonic() >= next_report:
                self._report(sent, False)
                next_report = monotonic() + _REPORT
        self._report(sent, True)
