"""What an engine leaves when it ends, and in which order the next one starts what is to run."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.engines import Engine, wait_for

NewEngine = Callable[..., Engine]


def runs(engine: Engine, name: str) -> bool:
    return engine.field(name, "{{.State.Status}}") == "running"


def test_sockets_go_with_the_engine(new_engine: NewEngine, tmp_path: Path) -> None:
    path = tmp_path / "further.sock"
    engine = new_engine("--host", f"unix://{path}")
    assert path.is_socket() and Path(engine.socket).is_socket()
    engine.terminate()
    assert not path.exists() and not Path(engine.socket).exists()


def test_what_others_need_is_started_first(new_engine: NewEngine) -> None:
    engine = new_engine("--live-restore=false")
    again = ("--restart", "always", "--stop-timeout", "0")
    engine.ok("run", "-d", "--name", "c0", *again, "busybox", "sleep", "1000")
    names = ["c0"]
    for number in range(1, 5):  # one needs the other, by turns for its address and for its network
        need = ("--link", f"c{number - 1}") if number % 2 else ("--network", f"container:c{number - 1}")
        if number == 3:
            need = ("--link", "c1")  # c2 has no address of its own
        engine.ok("run", "-d", "--name", f"c{number}", *need, *again, "busybox", "sleep", "1000")
        names.append(f"c{number}")
    engine.terminate()
    engine.start()
    for name in names:
        wait_for(partial(runs, engine, name))
    engine.ok("rm", "-f", *names)
