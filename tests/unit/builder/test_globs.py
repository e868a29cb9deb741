"""Patterns of COPY and ADD."""

import re

import pytest

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.globs import expression, has_pattern, source_of


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("*.txt", ["a.txt", ".txt"], ["a.tx", "a/b.txt", "a.txt.b"]),
        ("a?c", ["abc", "a.c"], ["ac", "abbc", "a/c"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[^a-c]x", ["dx", "-x"], ["ax", "/x"]),
        ("a\\*", ["a*"], ["ab"]),
        ("[\\-x]", ["-", "x"], ["\\"]),
        ("plain", ["plain"], ["plainer", "xplain"]),
        ("a.c", ["a.c"], ["abc"]),
        ("[b-a]", [], ["a", "b"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    compiled = re.compile(expression(pattern, pattern), re.DOTALL)
    assert [name for name in fits if not compiled.fullmatch(name)] == []
    assert [name for name in fits_not if compiled.fullmatch(name)] == []


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-", "a\\", "[-]", "[\\"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(DockerfileError, match="syntax error in pattern"):
        expression(pattern, pattern)


def test_a_source_starts_at_the_root_and_stays_there() -> None:
    assert source_of("/a//b/./c").parts == ((False, "a"), (False, "b"), (False, "c"))
    assert source_of("../../etc/passwd").parts == ((False, "etc"), (False, "passwd"))
    assert source_of(".").parts == ()
    assert source_of("a/../b").parts == ((False, "b"),)


def test_the_pivot_of_names_with_parents() -> None:
    assert source_of("a/b/./c/d").pivot == 2
    assert source_of("./a").pivot == 0
    assert source_of("a/*/c").pivot == 0


def test_what_is_a_pattern() -> None:
    assert has_pattern("a*")
    assert not has_pattern("a.b-c")
