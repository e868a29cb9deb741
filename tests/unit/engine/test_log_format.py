"""A log as a client gets it."""

from rundlet.api import stdcopy
from rundlet.api.containers import LogsOptions
from rundlet.engine.containers.logs import Format
from rundlet.runtime.logreader import Entry

ENTRIES = [
    Entry("one\n", "stdout", "2026-01-02T03:04:05.1Z"),
    Entry("two\n", "stdout", "2026-01-02T03:04:05.2Z"),
    Entry("error\n", "stderr", "2026-01-02T03:04:05.3Z"),
]


def test_every_line_is_a_frame() -> None:
    """docker-py gives the frames to its user, who takes them for lines."""
    data, done = Format(LogsOptions(stdout=True, stderr=True), tty=False).encode(ENTRIES)
    assert list(stdcopy.Splitter().feed(data)) == [(1, b"one\n"), (1, b"two\n"), (2, b"error\n")]
    assert not done


def test_a_terminal_has_no_frames() -> None:
    data, _ = Format(LogsOptions(stdout=True, stderr=True), tty=True).encode(ENTRIES)
    assert data == b"one\ntwo\nerror\n"


def test_one_stream_only() -> None:
    data, _ = Format(LogsOptions(stderr=True), tty=False).encode(ENTRIES)
    assert list(stdcopy.Splitter().feed(data)) == [(2, b"error\n")]


def test_times_are_in_the_frames() -> None:
    data, _ = Format(LogsOptions(stdout=True, timestamps=True), tty=False).encode(ENTRIES)
    assert [payload for _, payload in stdcopy.Splitter().feed(data)] == [
        b"2026-01-02T03:04:05.1Z one\n",
        b"2026-01-02T03:04:05.2Z two\n",
    ]
