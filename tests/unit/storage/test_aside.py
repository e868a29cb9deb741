"""Work beside a thread: everything in its order, and no error is lost."""

import threading

import pytest

from rundlet.storage.layer.aside import ALONE, Aside

PIECE = ALONE // 4


def test_everything_in_order_by_two_threads() -> None:
    seen: list[tuple[bytes, bool]] = []
    aside = Aside("aside", lambda piece: seen.append((piece[:1], threading.current_thread().name == "aside")))
    for number in range(40):
        aside.put(bytes([number]) * PIECE)
    aside.finish()
    assert [piece[0] for piece, _ in seen] == list(range(40))
    assert [elsewhere for _, elsewhere in seen] == [False] * 4 + [True] * 36
    aside.close()


def test_little_needs_no_thread() -> None:
    seen: list[bytes] = []
    aside = Aside("aside", seen.append)
    before = threading.active_count()
    aside.put(b"1")
    assert (seen, threading.active_count()) == ([b"1"], before)
    aside.finish()


def test_errors_reach_who_hands_over() -> None:
    def refuse(piece: bytes) -> None:
        if piece == b"bad":
            raise ValueError("bad")

    alone = Aside("aside", refuse)
    with pytest.raises(ValueError, match="bad"):
        alone.put(b"bad")

    aside = Aside("aside", refuse)
    aside.put(bytes(ALONE))
    aside.put(b"bad")  # the thread's
    with pytest.raises(ValueError, match="bad"):
        for _ in range(100):  # more than there are places for: nobody waits for a thread that gave up
            aside.put(b"good")
        aside.finish()
    with pytest.raises(ValueError, match="bad"):
        aside.put(b"good")
    aside.close()
