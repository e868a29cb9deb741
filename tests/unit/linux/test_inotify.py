import struct

from hypothesis import given
from hypothesis import strategies as st

from rundlet.linux.inotify import IN_CREATE, IN_Q_OVERFLOW, Event, parse_events


def test_several_events_in_one_read() -> None:
    data = (
        struct.pack("=iIII", 1, IN_CREATE, 0, 16)
        + b"name".ljust(16, b"\0")
        + struct.pack("=iIII", -1, IN_Q_OVERFLOW, 0, 0)
    )
    assert parse_events(data) == [Event(1, IN_CREATE, 0, "name"), Event(-1, IN_Q_OVERFLOW, 0, "")]


@given(st.binary(max_size=64))
def test_no_bytes_break_it(data: bytes) -> None:
    parse_events(data)
