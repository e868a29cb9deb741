"""The strict JSON of trust data and of policies."""

import subprocess
import sys
from pathlib import Path

import pytest

import rundlet
from rundlet.trust import canonical
from rundlet.trust.errors import MalformedError

SOURCE = str(Path(rundlet.__file__).parent.parent)
FRESH = """
import sys
sys.path.insert(0, sys.argv[1])
from rundlet.trust import canonical
from rundlet.trust.errors import MalformedError
assert "json" not in sys.modules and "typing" not in sys.modules
try:
    canonical.decode(b'{"signed"', "root")
except MalformedError as exc:
    print(exc)
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "a value is missing at 0"),
        (b"\xff", "can't decode"),
        (b'{"a": 1} x', "extra data at 8"),
        (b'{"a": 1, "a": 2}', "a key appears twice"),
        (b"[1.5]", "1.5 is no integer"),
        (b"[1e400]", "no integer|cannot convert"),
        (b"[NaN]", "NaN is no integer"),
        (b"[" + b"9" * 30 + b"]", "is too large"),
        (b"[" * 100_000, "recursion"),
        (b'{"a"', "delimiter"),
    ],
)
def test_what_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=f"root is no valid JSON: .*({words})"):
        canonical.decode(text, "root")


def test_what_go_writes_is_read() -> None:
    assert canonical.decode(b' {"length": 1.5e+06, "a": ["\\u00e9", null, true]}\n', "root") == {
        "length": 1_500_000,
        "a": ["é", None, True],
    }


def test_a_text_that_is_cut_where_json_was_never_imported() -> None:
    """As in a signed pull: nothing of it imports json, or typing."""
    command = [sys.executable, "-I", "-S", "-c", FRESH, SOURCE]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.startswith("root is no valid JSON: Expecting")
