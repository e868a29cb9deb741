"""What the steps of a stage are called where they are shown one by one: BuildKit's words.

Only what does something is a step there: an image that a stage begins with, ``RUN``, ``COPY``, ``ADD`` and ``WORKDIR``.
What only writes a configuration down, and a stage that begins with another one, is no step of its own.
"""

from collections.abc import Mapping

from rundlet.builder.dockerfile import ast
from rundlet.builder.graph import PlannedStage
from rundlet.builder.namedcontexts import named
from rundlet.oci.reference import InvalidReferenceError, Reference

_STEPS = (ast.Run, ast.Copy, ast.Add, ast.Workdir)
_SCRATCH = "scratch"


def step_names(planned: PlannedStage, contexts: Mapping[str, str], *, alone: bool) -> list[tuple[str, str]]:
    """Of the stage's beginning and of each of its instructions: ``("base 2/12", "RUN make")``; ``("", "")`` for what is
    no step. ``alone``: the file has no other stage, so that this one needs no name."""
    texts = [_beginning(planned, contexts)]
    texts += [_title(item.code) if isinstance(item, _STEPS) else "" for item in planned.stage.instructions]
    total = sum(1 for text in texts if text)
    width = len(str(total))
    stage = "" if alone else f"{planned.name} "
    found = []
    number = 0
    for text in texts:
        number += bool(text)
        found.append((f"{stage}{number:>{width}}/{total}", text) if text else ("", ""))
    return found


def _beginning(planned: PlannedStage, contexts: Mapping[str, str]) -> str:
    if planned.base_stage is not None or planned.base == _SCRATCH:
        return ""
    if named(contexts, planned.base) is not None:
        return f"FROM {planned.base}"
    try:
        return f"FROM {Reference.parse(planned.base).with_default_tag().canonical}"
    except InvalidReferenceError:
        return f"FROM {planned.base}"


def _title(code: str) -> str:
    """The instruction's name in capitals, as it is shown also where it is not written so."""
    name, space, rest = code.partition(" ")
    return f"{name.upper()}{space}{rest}"
