"""No bytes make the Dockerfile's parser do anything but answer or refuse, and none make it slow."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse, parse_instruction
from rundlet.builder.dockerfile.patterns import replace, trim_prefix, trim_suffix
from rundlet.builder.ignore import BadPatternError, Patterns

_WORDS = (
    "FROM RUN COPY ADD ENV ARG LABEL ONBUILD HEALTHCHECK SHELL CMD EXPOSE VOLUME AS scratch base "
    "$a ${a ${a:-b} ${a//x/y} "
    "} <<EOF <<-'X' EOF X # escape=` syntax= --from=x --mount=type=cache,target=/x "
    '--mount= --chmod=1 -- [ ] "a" \' " \\ ` '
    ", = NONE --interval=1s --link 80/tcp"
).split()
_PIECE = st.one_of(
    st.sampled_from(_WORDS), st.sampled_from([" ", " ", "\n", "\n", "\t", "\\\n", "\r\n", "\0"]), st.text(max_size=3)
)
_TEXT = st.lists(_PIECE, max_size=60).map("".join)


def outcome(text: bytes) -> None:
    try:
        found = parse(text)
        for stage in found.stages:
            assert 1 <= stage.position.line <= stage.extent.end
            for instruction in stage.instructions:
                assert instruction.position.line <= instruction.position.end
                try:
                    instruction.expanded(Expander({"a": "x y"}, found.directives.escape))
                except DockerfileError as exc:
                    assert exc.why
    except DockerfileError as exc:
        assert exc.status == 400
        assert exc.why


@settings(max_examples=600, deadline=None)
@given(_TEXT)
def test_pieces_of_dockerfiles(text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"))
    outcome(b"FROM scratch\n" + text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    outcome(data)


@settings(max_examples=200, deadline=None)
@given(_TEXT)
def test_triggers(text: str) -> None:
    try:
        parse_instruction(text)
    except DockerfileError as exc:
        assert exc.why


_SIMPLE = st.text(alphabet="ab/.", max_size=12)
_GLOB = st.text(alphabet="ab/.*?", max_size=6)


def by_regex(pattern: str, *, longest: bool) -> "re.Pattern[str]":
    star = ".*" if longest else ".*?"
    return re.compile("".join({"*": star, "?": "."}.get(letter, re.escape(letter)) for letter in pattern), re.DOTALL)


@given(_GLOB, _SIMPLE, st.booleans())
def test_trimming_is_what_a_regular_expression_would_do(pattern: str, text: str, longest: bool) -> None:
    match = by_regex(pattern, longest=longest).match(text)
    assert trim_prefix(pattern, text, longest=longest) == (text if match is None else text[match.end() :])
    backwards = by_regex(pattern[::-1], longest=longest).match(text[::-1])
    assert trim_suffix(pattern, text, longest=longest) == (
        text if backwards is None else text[: len(text) - backwards.end()]
    )


@given(_GLOB, _SIMPLE)
def test_replacing_once_is_what_a_regular_expression_would_do(pattern: str, text: str) -> None:
    assert replace(pattern, "#", text, every=False) == by_regex(pattern, longest=True).sub("#", text, count=1)


@given(st.text(alphabet="ab/*?", min_size=1, max_size=9), _SIMPLE)
def test_ignoring_is_what_a_regular_expression_would_do(pattern: str, path: str) -> None:
    try:
        patterns = Patterns([pattern])
    except BadPatternError:
        return
    import posixpath

    clean = posixpath.normpath(pattern)
    clean = clean.lstrip("/") or "/"
    text = ""
    position = 0
    while position < len(clean):
        if clean.startswith("**", position):
            position += len(clean[position:]) - len(clean[position:].lstrip("*"))
            position += clean.startswith("/", position)
            text += ".*" if position >= len(clean) else "(?:.*/)?"
            continue
        text += {"*": "[^/]*", "?": "[^/]"}.get(clean[position], re.escape(clean[position]))
        position += 1
    expected = re.fullmatch(text, path, re.DOTALL) is not None
    assert (patterns.state(path) >= 0) is expected


@pytest.mark.parametrize(
    "text",
    [
        b"FROM scratch\nRUN " + b"a \\\n" * 40_000,
        b"FROM scratch\nENV " + b"a=b " * 15_000,
        b"FROM scratch\n" + b"RUN <<E\nx\nE\n" * 10_000,
        b"FROM scratch\nENV a=" + b"${b:-x}" * 9_000,
        b"FROM scratch\nENV a=" + b"'" * 60_000,
        b"FROM scratch\nENV a=" + b"${" * 30_000,
        b"FROM scratch\nRUN " + b"<<" * 30_000,
        b"FROM scratch\nRUN " + b"<<E " * 15_000,
        b"FROM scratch\nCMD " + b"[" * 60_000,
        b"#" * 60_000 + b"\n" + b"# a=b\n" * 20_000 + b"FROM scratch\n",
        b"FROM scratch\nCOPY " + b"--exclude=x " * 5_000 + b"a b\n",
    ],
    ids=range(11),
)
def test_time_grows_with_the_text(text: bytes) -> None:
    began = time.process_time()
    outcome(text)
    assert time.process_time() - began < 5
