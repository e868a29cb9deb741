"""A stand-in for testcontainers' reaper, whose own image only a registry could give; runs inside a container.

Speaks its protocol: listens on port 8080, takes a line of filters at a time (``label=a=b&label=c=d``), answers ``ACK``,
and some time after the last connection has ended removes what matches, by the engine's socket that is mounted into it.
The standard library only.
"""

import http.client
import json
import os
import socket
import socketserver
import threading
import urllib.parse

PORT = 8080
ENGINE = "/var/run/docker.sock"
NOUNS = (
    ("/containers/json?all=1&", None, "/containers/{Id}?force=1&v=1"),
    ("/networks?", None, "/networks/{Id}"),
    ("/volumes?", "Volumes", "/volumes/{Name}?force=1"),
    ("/images/json?", None, "/images/{Id}?force=1"),
)


class Engine(http.client.HTTPConnection):
    """One request to the engine."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(ENGINE)


def asked(method: str, path: str) -> object:
    """The engine's answer; a refusal is told and is no reason to leave the rest."""
    engine = Engine("engine")
    try:
        engine.request(method, "/v1.41" + path)
        answer = engine.getresponse()
        data = answer.read()
    finally:
        engine.close()
    if answer.status >= 400 and answer.status != 404:
        print(method, path, answer.status, data.decode(), flush=True)
    return json.loads(data) if data else None


def filters(line: str) -> str:
    """The filters of one line, as the engine's API takes them."""
    found: dict[str, dict[str, bool]] = {}
    for key, value in urllib.parse.parse_qsl(line):
        found.setdefault(key, {})[value] = True
    return urllib.parse.urlencode({"filters": json.dumps(found)})


def reap(line: str) -> None:
    for listing, key, removal in NOUNS:
        found = asked("GET", listing + filters(line))
        if key is not None and isinstance(found, dict):
            found = found[key]
        for item in found if isinstance(found, list) else ():
            if item.get("Id", "-").startswith(socket.gethostname()):
                continue  # itself: it may carry the label of what it watches over
            print("removing", item.get("Name") or item["Id"], flush=True)
            asked("DELETE", removal.format_map(item))


class Clients(socketserver.ThreadingTCPServer):
    """Who is connected, and what they have asked to be removed."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("", PORT), Client)
        self.lines: set[str] = set()
        self.changed = threading.Condition()
        self.connected = 0
        self.seen = False

    def wait_for_the_end(self, patience: float) -> None:
        """Returns when nobody has been connected for ``patience`` seconds, after there was somebody."""
        with self.changed:
            while True:
                self.changed.wait_for(lambda: self.seen and not self.connected)
                if not self.changed.wait_for(lambda: self.connected, patience):
                    return


class Client(socketserver.StreamRequestHandler):
    server: Clients

    def handle(self) -> None:
        with self.server.changed:
            self.server.connected += 1
            self.server.seen = True
            self.server.changed.notify_all()
        try:
            for line in self.rfile:
                self.server.lines.add(line.decode().strip())
                self.wfile.write(b"ACK\n")
        except ConnectionError:
            pass  # killed in the middle: as much an end as any other
        finally:
            with self.server.changed:
                self.server.connected -= 1
                self.server.changed.notify_all()


def main() -> None:
    with Clients() as clients:
        threading.Thread(target=clients.serve_forever, daemon=True).start()
        print("Reaper Started!", flush=True)
        clients.wait_for_the_end(float(os.environ.get("RYUK_RECONNECTION_TIMEOUT", "10s").removesuffix("s")))
        for line in sorted(clients.lines):
            reap(line)


if __name__ == "__main__":
    main()
