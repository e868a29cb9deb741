"""Which stages a build needs."""

import pytest

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.errors import CyclicStagesError, OwnStageError
from rundlet.builder.graph import PlannedStage, plan

FILE = """FROM a AS base
FROM base AS one
FROM b AS two
COPY --from=one /x /
FROM c AS unused
FROM d
COPY --from=two /x /
RUN --mount=type=bind,from=other-image,target=/m true
"""


def planned(text: str, target: str = "", contexts: dict[str, str] | None = None) -> list[PlannedStage]:
    dockerfile = parse(text.encode())
    bases = {stage.index: (stage.base, "") for stage in dockerfile.stages}
    return plan(dockerfile, target, bases, contexts or {})


def test_only_what_the_target_needs() -> None:
    assert [stage.name for stage in planned(FILE)] == ["base", "one", "two", "stage-4"]
    assert [stage.name for stage in planned(FILE, "one")] == ["base", "one"]
    assert [stage.name for stage in planned(FILE, "2")] == ["base", "one", "two"]


def test_the_classic_builder_carries_all_of_them_out() -> None:
    dockerfile = parse(FILE.encode())
    bases = {stage.index: (stage.base, "") for stage in dockerfile.stages}
    assert [stage.stage.index for stage in plan(dockerfile, "", bases, {}, every=True)] == [0, 1, 2, 3, 4]
    assert [stage.stage.index for stage in plan(dockerfile, "two", bases, {}, every=True)] == [0, 1, 2]
    own = parse(b"FROM a\nFROM b\nCOPY --from=1 / /\n")
    with pytest.raises(OwnStageError, match="invalid from flag value 1: refers to current build stage"):
        plan(own, "", {0: ("a", ""), 1: ("b", "")}, {}, every=True)


def test_what_a_stage_waits_for() -> None:
    needs = {stage.name: stage.needs for stage in planned(FILE)}
    assert needs == {"base": frozenset(), "one": {0}, "two": {1}, "stage-4": {2}}


def test_a_context_comes_before_a_stage() -> None:
    stages = planned(FILE, contexts={"two": "input:two", "base": "docker-image://x"})
    assert [stage.name for stage in stages] == ["stage-4"]


def test_the_last_stage_of_a_name_counts() -> None:
    stages = planned("FROM a AS x\nFROM b AS x\nFROM c\nCOPY --from=x / /\n")
    assert [stage.stage.index for stage in stages] == [1, 2]


@pytest.mark.parametrize("source", ["later", "1", "0"])
def test_cycles(source: str) -> None:
    with pytest.raises(CyclicStagesError):
        planned(f"FROM a AS now\nCOPY --from={source} /x /\nFROM now AS later\n")


def test_no_such_target() -> None:
    with pytest.raises(DockerfileError, match="could not be found"):
        planned(FILE, "nowhere")
