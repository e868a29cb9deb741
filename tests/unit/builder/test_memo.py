"""What is remembered of a context, and what a change makes of that."""

import time

import pytest

from rundlet.builder.globs import source_of
from rundlet.builder.memo import PickMemo
from rundlet.storage.files.access import Picked, PickRequest


def request(*sources: str) -> PickRequest:
    return PickRequest(sources=[source_of(source) for source in sources])


def known(*sources: str) -> PickMemo:
    memo = PickMemo()
    memo.put(request(*sources), "digest", [Picked(0, "name", False)])
    return memo


def test_the_same_question_has_the_same_answer() -> None:
    memo = known("a", "b/")
    assert memo.get(request("a", "b")) == ("digest", [Picked(0, "name", False)])
    assert memo.get(request("a")) is None
    memo.clear()
    assert memo.get(request("a", "b")) is None


@pytest.mark.parametrize(
    ("source", "changed", "stays"),
    [
        ("a", "a", False),
        ("a", "b", True),
        ("a", "ab", True),
        ("a", "a/b/c", False),
        ("a/b", "a", False),
        ("a/b", "a/c", True),
        (".", "a", False),
        ("/", "a/b", False),
        ("a/*.c", "a/x.c", False),
        ("a/*.c", "a/sub/x", False),
        ("a/*.c", "b", True),
        ("*.c", "b", False),
        ("a/./b", "a/b/x", False),
    ],
)
def test_a_change_touches_what_it_may_be_part_of(source: str, changed: str, stays: bool) -> None:
    memo = known(source)
    memo.forget([changed])
    assert (memo.get(request(source)) is not None) is stays


def test_no_change_touches_nothing() -> None:
    memo = known(".")
    memo.forget([])
    assert memo.get(request(".")) is not None


def test_many_changes_of_a_context_with_many_answers_are_little_work() -> None:
    memo = PickMemo()
    for number in range(1000):
        memo.put(request(f"package{number}/source"), "digest", [])
    began = time.thread_time()
    memo.forget([f"other/{number % 100}/{number}" for number in range(50_000)] + ["package7"])
    assert time.thread_time() - began < 2  # seconds of work; each with each were four and more
    assert memo.get(request("package7/source")) is None
    assert memo.get(request("package8/source")) is not None
