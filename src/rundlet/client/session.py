"""Requests to one engine, over as few connections as they need.

Paths are sent without a version prefix (the engine answers with the newest version it speaks), so no round trip goes
into negotiating; ``DOCKER_API_VERSION`` pins one.
"""

from __future__ import annotations

from rundlet.client.errors import ApiError, ClientError, ConnectError
from rundlet.client.http import Connection, Hijacked
from rundlet.client.wire import DecodeError, dumps, loads, query_string

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from rundlet.client.endpoint import Endpoint
    from rundlet.client.http import Response

UPGRADE = {"Upgrade": "tcp", "Connection": "Upgrade"}


class Session:
    """An engine to talk to. ``start`` is called once when nothing listens; it may bring an engine up."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        version: str = "",
        headers: Mapping[str, str] | None = None,
        start: Callable[[], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.version = version
        self.headers = dict(headers or {})
        self._start = start
        self._idle: list[Connection] = []
        self._opened: list[Connection] = []
        self._interrupted = False

    def connect(self) -> Connection:
        """A connection with nothing on it: an idle one, or a new one. Raises ConnectError."""
        while self._idle:
            connection = self._idle.pop()
            if connection.idle:
                return connection
        return self._open()

    def connect_directly(self) -> Connection:
        """A connection for what is no longer HTTP: none through a proxy, which only passes requests on."""
        return self._open(direct=True) if self._proxied() else self.connect()

    def _proxied(self) -> bool:
        return self.endpoint.tls is None and self.endpoint.proxy() is not None

    def _open(self, *, direct: bool = False) -> Connection:
        try:
            socket = self.endpoint.connect(direct=direct)
        except ConnectError as exc:
            missing = isinstance(exc.cause, (FileNotFoundError, ConnectionRefusedError))
            if self._start is None or not missing:
                raise
            start, self._start = self._start, None
            start()
            socket = self.endpoint.connect()
        proxy = None if direct or self.endpoint.tls is not None else self.endpoint.proxy()
        if proxy is None:
            connection = Connection(socket, self.endpoint.host_header)
        else:
            origin = f"http://{self.endpoint.host_header}"
            connection = Connection(socket, self.endpoint.host_header, origin, proxy.headers)
        self._opened.append(connection)
        if self._interrupted:
            connection.interrupt()
        return connection

    def interrupt(self) -> None:
        """Cut every connection, also those to come: whichever thread waits on one gets an error. From any thread."""
        self._interrupted = True
        for connection in tuple(self._opened):
            connection.interrupt()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._opened:
            connection.close()

    def release(self, connection: Connection) -> None:
        """Keep ``connection`` for the next request when its last answer was read whole."""
        if connection.idle:
            self._idle.append(connection)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        stream: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        connection: Connection | None = None,
        least: tuple[int, int] = (0, 0),
    ) -> Connection:
        """Write a request and return the connection its answer will come on: ``connection``, or one that is free.

        ``body`` is sent as JSON, ``stream`` as it is, in chunks. ``least``: the API version that the request needs,
        also where an older one is pinned.
        """
        connection = connection or (self.connect_directly() if headers is UPGRADE else self.connect())
        base = "" if self.endpoint.scheme == "ssh" else self.endpoint.prefix
        version = "{}.{}".format(*least) if self.older_than(*least) else self.version
        prefix = f"{base}/v{version}" if version else base
        sent = {**self.headers, **(headers or {})}
        data: bytes | Iterable[bytes] | None = stream
        if body is not None:
            data = dumps(body).encode()
            sent["Content-Type"] = "application/json"
        elif stream is not None:
            sent.setdefault("Content-Type", "application/x-tar")
        connection.send(method, prefix + path + query_string(query or {}), sent, data)
        return connection

    def older_than(self, major: int, minor: int) -> bool:
        """Whether an API version before that is pinned."""
        first, _, second = self.version.partition(".")
        return first.isdigit() and second.isdigit() and (int(first), int(second)) < (major, minor)

    def request(self, method: str, path: str, **options: Any) -> Response:
        """An answer with a status below 400, its body unread. Raises ApiError, ClientError. See :meth:`send`."""
        connection = self.send(method, path, **options)
        return self.answer(connection, head_request=method == "HEAD")

    def answer(self, connection: Connection, *, head_request: bool = False) -> Response:
        """The answer to what was sent on ``connection``. Raises ApiError for an error status."""
        response = connection.receive(head_request=head_request)
        if response.status >= 400:
            raise ApiError(response.status, _message(response))
        return response

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """GET, whole, as JSON."""
        return self.json("GET", path, query=query)

    def post(self, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """POST, whole, as JSON; None when the answer has no body."""
        return self.json("POST", path, query=query, body=body)

    def delete(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.json("DELETE", path, query=query)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """Any request, whole, as JSON; None when the answer has no body."""
        response = self.request(method, path, **options)
        data = response.read()
        self.release(response.connection)
        if not data.strip():
            return None
        try:
            return loads(data)
        except DecodeError as exc:
            raise ClientError(f"the engine's answer to {method} {path} is not JSON: {exc}") from exc

    def stream(self, method: str, path: str, **options: Any) -> Iterator[Any]:
        """The JSON messages of a progress or event stream, as they come."""
        return self.request(method, path, **options).json_stream()

    def hijack(self, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Hijacked:
        """POST that turns the connection into a raw stream (attach, exec)."""
        return self.answer(self.send("POST", path, query=query, body=body, headers=UPGRADE)).hijack()


def _message(response: Response) -> str:
    data = response.read()
    try:
        value = loads(data)
    except DecodeError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("message"), str):
        return str(value["message"]).strip()
    text = data.decode("utf-8", "replace").strip()
    return text or f"request returned status {response.status} without a message"
