"""How containers ended: by the record that their shim wrote, or as nobody saw it."""

from pathlib import Path

import msgspec
import pytest

from rundlet.container.record import Record, State
from rundlet.container.state import Status
from rundlet.engine.containers import ends
from rundlet.runtime.shim.record import ExitRecord
from rundlet.runtime.state import read_exit

BEGAN = 1_700_000_000 * 10**9


@pytest.fixture
def running() -> Record:
    state = State(status=Status.RUNNING, pid=5, shim_pid=4, started_ns=BEGAN, restart_count=2, manually_stopped=True)
    return Record(
        id="ab" * 32,
        name="one",
        created_ns=BEGAN,
        image="busybox",
        image_id="sha256:" + "00" * 32,
        config=msgspec.Raw(b"{}"),
        host_config=msgspec.Raw(b"{}"),
        state=state,
    )


@pytest.mark.parametrize("finished", [BEGAN + 10**9, BEGAN - 3600 * 10**9], ids=["later", "the clock was set back"])
def test_the_record_of_the_shim_counts(running: Record, tmp_path: Path, finished: int) -> None:
    written = ExitRecord(str(tmp_path / "exit"))
    assert read_exit(str(tmp_path / "exit")) is None, "each start begins with an empty one"
    written.write(code=7, signal=None, oom=True, started_ns=BEGAN, finished_ns=finished, error=None, log_dropped=0)
    written.close()
    state = ends.state_after(running, read_exit(str(tmp_path / "exit")), BEGAN, unseen=255)
    assert state == State(
        status=Status.EXITED,
        started_ns=BEGAN,
        finished_ns=finished,
        exit_code=7,
        oom_killed=True,
        restart_count=2,
        manually_stopped=True,
    )


def test_what_nobody_saw(running: Record) -> None:
    state = ends.state_after(running, None, BEGAN + 5, unseen=255)
    assert (state.status, state.pid, state.shim_pid, state.exit_code) == (Status.EXITED, 0, 0, 255)
    assert state.finished_ns == BEGAN + 5
