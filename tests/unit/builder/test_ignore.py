"""Patterns of .dockerignore, one by one and together."""

import time

import pytest

from rundlet.builder.ignore import BadPatternError, Patterns


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("a", "a", True),
        ("a", "b/a", False),
        ("a", "a/b/c", True),
        ("/a", "a", True),
        ("./a/", "a", True),
        ("a/../b", "b", True),
        ("*", "a/b", True),
        ("*.go", "x.go", True),
        ("*.go", "d/x.go", False),
        ("*/*.go", "d/x.go", True),
        ("**/*.go", "x.go", True),
        ("**/*.go", "a/b/x.go", True),
        ("**", "a", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "a/x/yb", False),
        ("a**b", "ab", True),
        ("a**b", "a/x/b", True),
        ("a**b", "axb", False),
        ("**/a/b*c/**/d", "x/a/bzc/y/d", True),
        ("?", "ab", False),
        ("?", "é", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "axb", False),
        ("a.b", "axb", False),
        ("a+(b)|c", "a+(b)|c", True),
        (".", "a", False),
        ("..", "a", False),
        ("a b ", "a b", True),
    ],
)
def test_one_pattern(pattern: str, path: str, ignored: bool) -> None:
    assert Patterns([pattern]).ignored(path) is ignored


def test_the_last_pattern_decides() -> None:
    patterns = Patterns(["*.md", "!README*.md", "README-secret.md"])
    assert [patterns.ignored(name) for name in ("a.md", "README.md", "README-secret.md")] == [True, False, True]
    assert Patterns(["!a", "*"]).ignored("a")


def test_something_kept_within_something_left_out() -> None:
    patterns = Patterns(["docs", "!docs/api"])
    assert patterns.ignored("docs")
    assert patterns.ignored("docs/x")
    assert not patterns.ignored("docs/api/y")
    assert patterns.may_keep_below("docs")
    assert not patterns.may_keep_below("doc")
    assert Patterns(["docs", "!**/*.md"]).may_keep_below("docs")


def test_a_file() -> None:
    patterns = Patterns.read(b"\xef\xbb\xbf# comment\n\n  a  \r\n #b\n! c\n")
    assert patterns.ignored("a")
    assert patterns.ignored("#b")
    assert not patterns.ignored("# comment")
    assert not patterns.ignored("c")
    assert not Patterns.read(b"# nothing\n")


@pytest.mark.parametrize("pattern", ["!", "[", "[a", "[]", "a\\", "[b-a]", "[a-]"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(BadPatternError):
        Patterns([pattern])


@pytest.mark.parametrize("pattern", ["*a" * 30, "**/*a*b*c/" * 6 + "d", "a*" * 40 + "z", "**/" * 50 + "b"])
def test_no_pattern_takes_long(pattern: str) -> None:
    patterns = Patterns([pattern])
    began = time.process_time()
    for path in ("a" * 4000, "a/" * 2000 + "c", "ab" * 2000):
        patterns.state(path)
    assert time.process_time() - began < 5


def test_too_many_wildcards_that_would_have_to_be_tried_out() -> None:
    with pytest.raises(BadPatternError, match="too many wildcards"):
        Patterns(["a**b" * 10])
