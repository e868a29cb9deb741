"""The pipes that the proxy's bytes go by."""

import fcntl

from rundlet.network.proxy.relay import Pipe


def test_the_first_few_pipes_are_large_and_make_room_for_others_when_they_go() -> None:
    pipes = [Pipe() for _ in range(18)]
    try:
        assert [pipe.size for pipe in pipes] == [1 << 20] * 16 + [256 << 10] * 2
        assert all(fcntl.fcntl(pipe.writer, fcntl.F_GETPIPE_SZ) == pipe.size for pipe in pipes)
        for gone in (17, 3):  # a small one makes no room for a large one
            pipes.pop(gone).close()
            pipes.append(Pipe())
        assert [pipe.size for pipe in pipes[-3:]] == [256 << 10, 256 << 10, 1 << 20]
    finally:
        for pipe in pipes:
            pipe.close()
    assert Pipe.large == 0
