"""JSON and URL encoding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.client import wire

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


def test_query_string() -> None:
    query = {"a": None, "b": True, "c": False, "n": ["x", "y z"], "f": {"k": ["v"]}, "t": "ä/&"}
    assert wire.query_string(query) == "?b=1&c=0&n=x&n=y%20z&f=%7B%22k%22%3A%5B%22v%22%5D%7D&t=%C3%A4%2F%26"
    assert wire.query_string({"a": None}) == ""
