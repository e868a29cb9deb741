"""What a stage's steps are known to ask for before their turn."""

import asyncio

import pytest

from rundlet.builder.ahead import Ahead, forecast, is_separate
from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.parser import parse
from rundlet.builder.errors import BuildError
from rundlet.builder.state import StageState
from rundlet.builder.transfers import Brought
from rundlet.oci.config import ContainerConfig, ImageConfig

BASE = StageState(ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=["V=base"])))


def declare(state: StageState, instruction: ast.Arg) -> StageState:
    values = {variable.name: variable.value for variable in instruction.variables}
    return StageState(state.config, arguments={**state.arguments, **values})


def instructions(text: str) -> tuple[ast.Instruction, ...]:
    return parse(f"FROM x\n{text}".encode()).stages[0].instructions


def foreseen(text: str) -> list[tuple[int, str, list[str], str]]:
    return [
        (place, state.directory, list(one.sources), one.destination)
        for place, state, one in forecast(BASE, instructions(text), "\\", declare)
    ]


def test_variables_and_directories_are_those_of_the_step() -> None:
    text = (
        "COPY $V /1\nARG D=there\nENV V=new\nRUN V=other\nWORKDIR /w\nWORKDIR $D\nADD $V $D/\nENV V=last\nCOPY $V .\n"
    )
    assert foreseen(text) == [
        (0, "/", ["base"], "/1"),
        (6, "/w/there", ["new"], "there/"),
        (8, "/w/there", ["last"], "."),
    ]


def test_what_is_separate() -> None:
    text = "COPY a /\nADD a /\nCOPY --link a /\nADD a http://example.org/x /d/\nADD https://example.org/r.git /d\n"
    found = [is_separate(one) for one in instructions(text) if isinstance(one, ast.Transfer)]
    assert found == [False, False, True, True, True]


def test_it_begins_before_its_turn_and_ends_with_the_stage() -> None:
    async def scenario() -> list[str]:
        said: list[str] = []

        async def bring(place: int, state: StageState, instruction: ast.Transfer) -> Brought:
            said.append(f"{place} begins")
            if instruction.sources == ("bad",):
                raise BuildError("bad")
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                said.append(f"{place} ends")
                raise
            raise AssertionError

        # What comes after an instruction that is wrong isn't foreseen.
        text = "COPY a /\nRUN x\nCOPY b /\nCOPY bad /\nRUN ${V:?no}\nENV A=${NONE:?missing}\nCOPY c /\n"
        ahead = Ahead(BASE, instructions(text), "\\", declare, bring)
        assert ahead.of(0) is None and ahead.of(1) is None and ahead.of(6) is None
        failing = ahead.of(3)
        assert failing is not None
        with pytest.raises(BuildError):
            await failing
        await ahead.close()
        return said

    assert asyncio.run(scenario()) == ["2 begins", "3 begins", "2 ends"]
