"""Mistakes in ``RUN --mount``: as with BuildKit they show when variables are known, and name no line."""

import pytest

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.expansion import Expander
from rundlet.builder.dockerfile.parser import parse_instruction


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("target=/x,ro=perhaps", "invalid value for ro: perhaps"),
        ("bind", "invalid field 'bind' must be a key=value pair"),
        ("type=bind,targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
        ("type=tmpfs,target=/x,mode=0700", 'mode not allowed for "tmpfs" type mounts'),
        ("target=/x,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=bind,target=/x,sharing=locked", "invalid cache sharing set for bind mount"),
        ("type=cache,target=/x,sharing=alone", 'unsupported sharing value "alone"'),
        ("target=/x,size=1m", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,target=/x,size=big", "invalid value for size: big"),
        ("type=cach,target=/x", 'unsupported mount type "cach" (did you mean cache?)'),
    ],
)
def test_mistakes(mount: str, words: str) -> None:
    instruction = parse_instruction(f"RUN --mount={mount} true")
    with pytest.raises(DockerfileError) as caught:
        instruction.expanded(Expander({}))
    assert str(caught.value) == words
