"""As much of an engine as ``login`` asks for."""

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import TracebackType
from typing import Any, Self


class Engine:
    """Answers /auth on a socket at ``path``: well for ``password``, else with 401. ``asked``: the bodies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.password = "secret"
        self.asked: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "socket"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                right = body["password"] == outer.password
                answer = {"Status": "Login Succeeded", "IdentityToken": ""} if right else {"message": "unauthorized"}
                data = json.dumps(answer).encode()
                self.send_response(200 if right else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingUnixStreamServer(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
