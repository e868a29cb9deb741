"""What steps are called where BuildKit's clients see them."""

from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.graph import plan
from rundlet.builder.naming import step_names

TEXT = b"""FROM busybox AS base
ARG A=1
env B=2
run echo $A
COPY a \\
  b /c/
WORKDIR /w
FROM base
ADD x /
FROM scratch AS last
COPY --from=base /w /
LABEL a=b
"""


def names(text: bytes, contexts: dict[str, str] | None = None) -> list[list[tuple[str, str]]]:
    dockerfile = parse(text)
    bases = {stage.index: (stage.base, "") for stage in dockerfile.stages}
    found = []
    for target in range(len(dockerfile.stages)):
        planned = plan(dockerfile, str(target), bases, contexts or {})[-1]
        found.append(step_names(planned, contexts or {}, alone=len(dockerfile.stages) == 1))
    return found


def test_what_does_something_is_a_step() -> None:
    base, second, last = names(TEXT)
    assert base == [
        ("base 1/4", "FROM docker.io/library/busybox:latest"),
        ("", ""),
        ("", ""),
        ("base 2/4", "RUN echo $A"),
        ("base 3/4", "COPY a   b /c/"),
        ("base 4/4", "WORKDIR /w"),
    ]
    assert second == [("", ""), ("stage-1 1/1", "ADD x /")]
    assert last == [("", ""), ("last 1/1", "COPY --from=base /w /"), ("", "")]


def test_one_stage_needs_no_name_and_numbers_are_as_wide_as_the_last() -> None:
    [only] = names(b"FROM r.example:5000/a@sha256:%b\n" % (b"1" * 64) + b"RUN x\n" * 9)
    assert only[0] == (" 1/10", f"FROM r.example:5000/a@sha256:{'1' * 64}")
    assert only[-1] == ("10/10", "RUN x")


def test_a_context_keeps_the_name_that_the_build_gave_it() -> None:
    [only] = names(b"FROM busybox\n", {"busybox": "docker-image://other"})
    assert only == [("1/1", "FROM busybox")]
    [unclear] = names(b"FROM UPPER\n")
    assert unclear == [("1/1", "FROM UPPER")]
