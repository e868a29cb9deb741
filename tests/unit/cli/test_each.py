"""Requests that are under way together."""

import socket
import threading
from collections.abc import Iterator

import pytest

from rundlet.cli import each
from rundlet.cli.main import main

Output = pytest.CaptureFixture[str]


class Engine:
    """Answers nothing before ``together`` requests have come, and then the last first."""

    def __init__(self, path: str, together: int, failing: str = "") -> None:
        self.path = path
        self.requests: list[str] = []
        self._together = together
        self._failing = failing
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(100)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        waiting = []
        for _ in range(self._together):
            connection = self._listener.accept()[0]
            waiting.append((connection, self._request(connection)))
        for connection, target in waiting[::-1]:
            self._answer(connection, target)
        others = [threading.Thread(target=self._go_on, args=(connection,)) for connection, _target in waiting]
        for thread in others:
            thread.start()
        for thread in others:
            thread.join()

    def _go_on(self, connection: socket.socket) -> None:
        with connection:
            while target := self._request(connection):
                self._answer(connection, target)

    def _request(self, connection: socket.socket) -> str:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            data = connection.recv(65536)
            if not data:
                return ""
            head += data
        target = head.split()[1].decode()
        self.requests.append(target)
        return target

    def _answer(self, connection: socket.socket, target: str) -> None:
        if self._failing and self._failing in target:
            connection.sendall(b'HTTP/1.1 409 Conflict\r\nContent-Length: 18\r\n\r\n{"message":"busy"}')
        else:
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Engine]]:
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.close()


@pytest.mark.parametrize("verb", ["rm", "stop", "kill", "pause", "unpause", "restart"])
def test_several_are_under_way_together_and_told_in_order(
    verb: str, engines: list[Engine], tmp_path_factory: pytest.TempPathFactory, capsys: Output
) -> None:
    engine = Engine(f"{tmp_path_factory.mktemp('s')}/s", 3, failing="/b")
    engines.append(engine)
    assert main(["rundlet", "-H", f"unix://{engine.path}", verb, "a", "b", "c"]) == 1
    output = capsys.readouterr()
    assert output.out == "a\nc\n"
    assert output.err == "Error response from daemon: busy\n"
    assert [target.split("/")[2] for target in engine.requests] == ["a", "b", "c"]


def test_the_same_name_twice_is_asked_for_one_after_the_other(
    engines: list[Engine], tmp_path_factory: pytest.TempPathFactory, capsys: Output
) -> None:
    engine = Engine(f"{tmp_path_factory.mktemp('s')}/s", 1)
    engines.append(engine)
    assert main(["rundlet", "-H", f"unix://{engine.path}", "rm", "a", "a"]) == 0
    assert capsys.readouterr().out == "a\na\n"
    assert engine.requests == ["/containers/a", "/containers/a"]


def test_no_more_than_a_bound_are_under_way(
    engines: list[Engine],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(each, "AT_ONCE", 2)
    engine = Engine(f"{tmp_path_factory.mktemp('s')}/s", 2)
    engines.append(engine)
    names = [f"c{number}" for number in range(7)]
    assert main(["rundlet", "-H", f"unix://{engine.path}", "rm", *names]) == 0
    assert capsys.readouterr().out.split() == names
    assert sorted(engine.requests) == [f"/containers/{name}" for name in names]


def test_a_name_that_can_be_none_is_a_failure_of_its_own(
    engines: list[Engine], tmp_path_factory: pytest.TempPathFactory, capsys: Output
) -> None:
    engine = Engine(f"{tmp_path_factory.mktemp('s')}/s", 2)
    engines.append(engine)
    assert main(["rundlet", "-H", f"unix://{engine.path}", "stop", "a", " ", "c"]) == 1
    output = capsys.readouterr()
    assert output.out == "a\nc\n"
    assert output.err == "invalid container name or ID: value is empty\n"
