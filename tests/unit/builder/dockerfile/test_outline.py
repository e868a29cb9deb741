"""What a Dockerfile says of itself: parameters of its targets."""

from rundlet.builder.dockerfile.outline import outline
from rundlet.builder.dockerfile.parser import parse

FILE = b"""\
# VERSION of the thing
ARG VERSION=1.2
ARG SUFFIX=x
ARG BASE=busybox:$SUFFIX
ARG UNUSED=1
# base what all stand on
FROM ${BASE} AS base
ARG VERSION
RUN --mount=type=secret,id=early true
FROM busybox AS other
ARG NOT_HERE=1
# app the program
FROM base AS app
# MODE how to run
# and more
ARG MODE=fast LEVEL
RUN --mount=type=secret,id=tok${LEVEL},required=true --mount=type=ssh --mount=type=bind,from=base,target=/x true
"""


def test_of_the_last_target() -> None:
    found = outline(parse(FILE), "", {"LEVEL": "3"}, {})
    assert (found.name, found.description) == ("app", "the program")
    assert [(one.name, one.value, one.description, one.position.line) for one in found.arguments] == [
        ("VERSION", "1.2", "of the thing", 2),
        ("SUFFIX", "x", "", 3),
        ("BASE", "busybox:x", "", 4),
        ("MODE", "fast", "how to run", 16),
        ("LEVEL", "3", "", 16),
    ]
    assert [(one.name, one.required) for one in found.secrets] == [("early", False), ("tok3", True)]
    assert [(one.name, one.required) for one in found.agents] == [("default", False)]


def test_of_another_target_with_an_argument() -> None:
    found = outline(parse(FILE), "base", {"BASE": "alpine"}, {})
    assert [(one.name, one.value) for one in found.arguments] == [("VERSION", "1.2"), ("BASE", "alpine")]
    assert found.agents == ()
    assert [one.name for one in outline(parse(FILE), "other", {}, {}).arguments] == ["NOT_HERE"]
