"""stdcopy framing and progress lines."""

from hypothesis import given
from hypothesis import strategies as st

from rundlet.api import jsonstream, stdcopy

FRAMES = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=50)), max_size=10)


def test_a_frame() -> None:
    assert stdcopy.frame(stdcopy.STDERR, b"hello") == b"\x02\0\0\0\0\0\0\x05hello"
    assert stdcopy.header(stdcopy.STDOUT, 1 << 24) == b"\x01\0\0\0\x01\0\0\0"


@given(FRAMES, st.integers(1, 20))
def test_splitting_undoes_framing_however_it_is_cut(frames: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(stdcopy.frame(stream, payload) for stream, payload in frames)
    splitter = stdcopy.Splitter()
    found = [f for at in range(0, len(data), size) for f in splitter.feed(data[at : at + size])]
    assert found == frames
    assert splitter.pending == 0


def test_an_unfinished_frame_is_pending() -> None:
    splitter = stdcopy.Splitter()
    assert list(splitter.feed(stdcopy.frame(1, b"hello")[:-1])) == []
    assert splitter.pending == stdcopy.HEADER_SIZE + 4


def test_progress_lines() -> None:
    assert jsonstream.encode(jsonstream.status("Pull complete", "abc")) == b'{"status":"Pull complete","id":"abc"}\r\n'
    assert jsonstream.encode(jsonstream.progress("Pulling fs layer", "abc")) == (
        b'{"status":"Pulling fs layer","progressDetail":{},"id":"abc"}\r\n'
    )
    assert jsonstream.encode(jsonstream.stream("text\n")) == b'{"stream":"text\\n"}\r\n'
    assert jsonstream.encode(jsonstream.failure("no", 5)) == (
        b'{"errorDetail":{"code":5,"message":"no"},"error":"no"}\r\n'
    )
    assert jsonstream.encode(jsonstream.aux({"ID": "x"})) == b'{"aux":{"ID":"x"}}\r\n'


def test_the_bar() -> None:
    assert jsonstream.bar(0, 0) == ""
    assert jsonstream.bar(1234, 0) == " 1.234kB"
    assert jsonstream.bar(50, 100) == "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"
    assert jsonstream.bar(100, 100) == "[" + "=" * 50 + ">]     100B/100B"
    assert jsonstream.bar(200, 100) == "[" + "=" * 50 + ">]     200B"


def test_human_sizes() -> None:
    assert [jsonstream.human_size(n) for n in (0, 999, 1000, 1536, 5_000_000, 1_234_567_890)] == [
        "0B", "999B", "1kB", "1.536kB", "5MB", "1.235GB",
    ]  # fmt: skip
