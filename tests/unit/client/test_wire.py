"""JSON and URL encoding."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rundlet
from rundlet.client import wire

SOURCE = str(Path(rundlet.__file__).parent.parent)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_dumps_is_what_json_reads(value: object) -> None:
    assert json.loads(wire.dumps(value)) == value


@given(JSON)
def test_loads_reads_what_json_writes(value: object) -> None:
    assert wire.loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["", "{", '{"a":1} x', "nul", '{"a" 1}', "[1,]"])
def test_loads_refuses_what_is_not_json(text: str) -> None:
    with pytest.raises(wire.DecodeError):
        wire.loads(text)


FRESH = """
import sys
sys.path.insert(0, sys.argv[1])
from rundlet.client import wire
assert "json.decoder" not in sys.modules
for text in sys.argv[2:]:
    try:
        wire.scan(text)
    except (StopIteration, ValueError):
        print(text)
"""


def test_texts_that_are_cut_where_json_was_never_imported() -> None:
    """As in a command: Python 3.11's scanner finds no exception to raise then."""
    texts = ["{", '{"status": "Pul', '{"a" 1}', "[1,"]
    command = [sys.executable, "-I", "-S", "-c", FRESH, SOURCE, *texts]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n") == [
        *texts,
        "",
    ]


def test_query_string() -> None:
    query = {"a": None, "b": True, "c": False, "n": ["x", "y z"], "f": {"k": ["v"]}, "t": "ä/&"}
    assert wire.query_string(query) == "?b=1&c=0&n=x&n=y%20z&f=%7B%22k%22%3A%5B%22v%22%5D%7D&t=%C3%A4%2F%26"
    assert wire.query_string({"a": None}) == ""
