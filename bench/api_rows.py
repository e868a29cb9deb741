"""Rows about the Engine API itself: requests on one connection, without a command line's start."""

import http.client
import socket
import statistics
import time

from bench.container_rows import remove_all, start_many
from bench.contenders import Contender
from bench.rows import Limit, Row

SOCKETS = {"docker": "/run/bench-docker/sock", "rundlet": "/run/bench-rundlet/rundlet.sock"}
REQUESTS = 200
CONTAINERS = 100


def api_rows(*, quick: bool) -> list[Row]:
    """In the order of the table."""
    rounds = 2 if quick else 7
    return [
        Row("`GET /_ping`, median of 200", "ms", rounds, _pings, at_most=1.0, without=("podman",)),
        Row(f"`GET /containers/json` with {CONTAINERS} containers", "ms", rounds, _lists, before=start_many(CONTAINERS),
            after=remove_all(CONTAINERS), limits=(Limit("docker", 1.0),), without=("podman",)),
    ]  # fmt: skip


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _times(one: Contender, path: str) -> list[float]:
    """Milliseconds of each request, one after the other."""
    connection = _Connection(SOCKETS[one.name])
    found = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        found.append((time.perf_counter() - began) * 1000)
    connection.close()
    return found


def _pings(one: Contender) -> float:
    return statistics.median(_times(one, "/_ping"))


def _lists(one: Contender) -> float:
    return sum(_times(one, "/containers/json")) / REQUESTS
