"""Variables in words: every modifier, quotes and escapes, what is missing."""

import pytest

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander

VALUES = {
    "a": "foo.tar.gz",
    "empty": "",
    "path": "/usr/local/bin",
    "two": "x y",
    "stars": "a*b?c",
    "1": "one",
    "ünï": "letters",
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$a", "foo.tar.gz"),
        ("${a}", "foo.tar.gz"),
        ("$a.$a", "foo.tar.gz.foo.tar.gz"),
        ("$ünï", "letters"),
        ("$missing", ""),
        ("${missing}", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$.", "$."),
        ("$1", "one"),
        ("$10x", "x"),
        ("\\$a", "$a"),
        ("\\\\$a", "\\foo.tar.gz"),
        ("end\\", "end"),
        ("'$a'", "$a"),
        ('"$a"', "foo.tar.gz"),
        ('"\\$a"', "$a"),
        ('"\\x\\"\\\\"', '\\x"\\'),
        ("a' b '\"c\"", "a b c"),
        ("${missing-d}", "d"),
        ("${empty-d}", ""),
        ("${missing:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${a:-d}", "foo.tar.gz"),
        ("${missing:-${empty:-${a}}}", "foo.tar.gz"),
        ("${missing:-'a}b'}", "a}b"),
        ("${missing:-a\\}b}", "a}b"),
        ("${a:+y}", "y"),
        ("${empty:+y}", ""),
        ("${empty+y}", "y"),
        ("${missing+y}", ""),
        ("${a:?x}", "foo.tar.gz"),
        ("${empty?x}", ""),
        ("${a#*.}", "tar.gz"),
        ("${a##*.}", "gz"),
        ("${a%.*}", "foo.tar"),
        ("${a%%.*}", "foo"),
        ("${a#fo?}", ".tar.gz"),
        ("${a#x}", "foo.tar.gz"),
        ("${missing#x}", ""),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${stars#a\\*}", "b?c"),
        ("${stars%\\?c}", "a*b"),
        ("${a/o/0}", "f0o.tar.gz"),
        ("${a//o/0}", "f00.tar.gz"),
        ("${path//\\//_}", "_usr_local_bin"),
        ("${path/*l/L}", "L/bin"),
        ("${a/.*}", None),
        ("${a/?ar/zip}", "foo.zip.gz"),
    ],
)
def test_words(text: str, result: str | None) -> None:
    if result is None:
        with pytest.raises(DockerfileError):
            Expander(VALUES).word(text)
    else:
        assert Expander(VALUES).word(text) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${a", "syntax error: missing '}'"),
        ("${a:-x", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${a^^}", "unsupported modifier (^) in substitution"),
        ("${a:=x}", "unsupported modifier (:=) in substitution"),
        ("${a:%x}", "unsupported modifier (:%) in substitution"),
        ("${a/x}", "syntax error: missing '/' in ${}"),
        ("${a/x/y", "syntax error: missing '}'"),
        ("${missing:?}", "missing: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${empty:?give $a}", "empty: give foo.tar.gz"),
        ("${a#\\x}", "invalid pattern (\\x) in substitution: invalid escape '\\x'"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
    ],
)
def test_complaints(text: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        Expander(VALUES).word(text)
    assert caught.value.why.startswith("failed to process ")
    assert caught.value.why.endswith(f": {message}")


def test_a_variable_with_blanks_makes_words_unless_it_is_quoted() -> None:
    assert Expander(VALUES).words('a $two "$two" b\\ c ""') == ("a", "x", "y", "x y", "b c")


def test_quotes_mean_nothing_in_a_document() -> None:
    assert Expander(VALUES).body('it\'s "$a"\n\\$a\n') == 'it\'s "foo.tar.gz"\n$a\n'


def test_what_is_missing_is_collected_where_there_is_a_default_too() -> None:
    expander = Expander(VALUES)
    expander.word("$one ${two} ${three:-3} ${four#x} ${five+y}")
    assert expander.unmatched == {"one", "three", "four", "five"}


def test_kept_as_written() -> None:
    expander = Expander({}, keep_unset=True, keep_quotes=True)
    assert expander.word('$a ${b} \'"\' "c\\"" \\d') == '$a ${b} \'"\' "c\\"" \\d'


def test_another_escape() -> None:
    assert Expander(VALUES, "`").word("c:\\dir\\`$a") == "c:\\dir\\$a"
