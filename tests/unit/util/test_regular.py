"""Regular expressions of clients: RE2's syntax and answers, without its opposite's time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.util.regular import Expression, PatternError, expression


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "x", True),
        ("web", "my-web-1", True),
        ("^/web$", "/web", True),
        ("^/web$", "/web2", False),
        ("^(web|db)-[0-9]{1,2}$", "db-17", True),
        ("^(web|db)-[0-9]{1,2}$", "db-177", False),
        (r"\bone\b", "a-one-b", True),
        (r"\Bne", "one", True),
        (r"^\w+\.\d+\s$", "a_1.22 ", True),
        (r"[^a-c\d]", "abc123", False),
        (r"[[:alpha:]]+[[:^digit:]]", "a1", False),
        (r"[]a-]", "-", True),
        (r"(?i)WEB[A-C]", "webb", True),
        (r"(?i:W)eb", "WEB", False),
        (r"(?P<name>a)(?:b)?c", "ac", True),
        (r"a{2,}?b", "aab", True),
        (r"a{x}", "a{x}", True),
        (r"\x41\x{42}\.", "AB.", True),
        ("a.c", "a\nc", False),
        ("x*", "", True),
        ("é+$", "caféé", True),
    ],
)
def test_answers(pattern: str, text: str, matches: bool) -> None:
    assert Expression(pattern).search(text) is matches


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "missing closing ): `(`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=a)`"),
        ("(?", "invalid or unsupported Perl syntax: `(?`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        ("a" * 10_001, "expression too large"),
        ("(a{1000}){1000}", "expression too large"),
        ("(" * 5000 + ")" * 5000, "expression nests too deeply"),
        (r"\x{110000}", r"invalid escape sequence: `\x110000`"),
    ],
)
def test_complaints_are_gos(pattern: str, message: str) -> None:
    with pytest.raises(PatternError) as caught:
        Expression(pattern)
    assert str(caught.value) == message


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a?)+$", "(a*)*b", "(.*a){20}$", "(x+x+)+y"])
def test_no_expression_takes_long(pattern: str) -> None:
    """With Python's own matcher each of these would end after the test's time limit, by far."""
    assert not expression(pattern).search("a" * 64 + "!" + "x" * 64)


@given(st.text("ab|*+?()^$.[]-x1", max_size=12), st.text("abx1-", max_size=8))
def test_as_pythons_where_both_can_be_read(pattern: str, text: str) -> None:
    try:
        ours = Expression(pattern).search(text)
        theirs = re.compile(pattern)
    except (PatternError, re.error):
        return
    if "(?" not in pattern and "+*" not in pattern:
        assert ours is (theirs.search(text) is not None)
