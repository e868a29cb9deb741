"""Whole files: what good ones mean, what is said about bad ones.

``positive/*.Dockerfile`` has its instructions in ``.json``, ``negative/*.Dockerfile`` its message in ``.txt``. With
RUNDLET_WRITE_GOLDENS set, what the parser says now is written instead of compared, to be read before it is committed.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rundlet.builder.dockerfile.ast import Dockerfile, Expose, Instruction
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse

HERE = Path(__file__).parent
POSITIVE = sorted((HERE / "positive").glob("*.Dockerfile"))
NEGATIVE = sorted((HERE / "negative").glob("*.Dockerfile"))


def described(instruction: Instruction) -> dict[str, Any]:
    fields = msgspec.structs.asdict(instruction)
    lines = fields.pop("position")
    kept = {name: value for name, value in fields.items() if value not in ("", (), None, False)}
    return {"instruction": instruction.keyword, "lines": [lines.line, lines.end], **kept}


def document(found: Dockerfile) -> Any:
    stages = [
        {
            "base": stage.base,
            "name": stage.name,
            "platform": stage.platform,
            "comment": stage.comment,
            "lines": [stage.extent.line, stage.extent.end],
            "instructions": [described(instruction) for instruction in stage.instructions],
        }
        for stage in found.stages
    ]
    plain = {
        "directives": found.directives,
        "arguments": [described(argument) for argument in found.global_args],
        "stages": stages,
        "warnings": found.warnings,
    }
    return msgspec.to_builtins(plain)


def settle(golden: Path, text: str) -> None:
    if "RUNDLET_WRITE_GOLDENS" in os.environ:
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("path", POSITIVE, ids=lambda path: path.stem)
def test_good_files(path: Path) -> None:
    found = parse(path.read_bytes())
    text = msgspec.json.format(msgspec.json.encode(document(found)), indent=1).decode() + "\n"
    settle(path.with_suffix(".json"), text)
    for stage in found.stages:
        for instruction in stage.instructions:
            if not isinstance(instruction, Expose):
                instruction.expanded(Expander({}, found.directives.escape))


def complaint(text: bytes) -> str:
    """The first thing that is wrong: when it is read, or when its variables are replaced."""
    try:
        found = parse(text)
        for stage in found.stages:
            for instruction in stage.instructions:
                instruction.expanded(Expander({}, found.directives.escape))
    except DockerfileError as exc:
        return f"{exc.line} {exc.reason}: {exc}\n"
    return "nothing\n"


@pytest.mark.parametrize("path", NEGATIVE, ids=lambda path: path.stem)
def test_bad_files(path: Path) -> None:
    found = complaint(path.read_bytes())
    assert found != "nothing\n"
    settle(path.with_suffix(".txt"), found)


def test_the_longest_line_is_64k() -> None:
    assert "dockerfile line greater than max allowed size of 65535" in complaint(b"FROM scratch\nRUN " + b"x" * 66_000)
