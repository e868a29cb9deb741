"""The filters parameter in both of its shapes."""

import pytest

from rundlet.api import filters
from rundlet.api.filters import Filters, InvalidFilterError
from rundlet.errors import InvalidParameterError


def test_both_shapes() -> None:
    assert filters.parse('{"label": ["a", "b=c"]}') == Filters({"label": ("a", "b=c")})
    assert filters.parse('{"label": {"a": true, "b": false}}') == Filters({"label": ("a", "b")})


@pytest.mark.parametrize("text", ["", "{}", "null", '{"label": null}'])
def test_nothing_asked(text: str) -> None:
    assert not filters.parse(text)


@pytest.mark.parametrize("text", ["x", "[]", '{"a": 1}', '{"a": [1]}', '"a"'])
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^invalid filter: "):
        filters.parse(text)


def test_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(InvalidFilterError, match=r"^invalid filter 'bogus'$"):
        filters.parse('{"bogus": ["a"]}', filters.CONTAINERS)


def test_a_filter_without_values_is_as_not_given() -> None:
    found = filters.parse('{"driver": [], "name": {}, "label": [], "dangling": []}')
    assert found.exact("driver", "bridge")
    assert found.matches("name", "n")
    assert found.glob("name", "n")
    assert found.labels({})
    with pytest.raises(InvalidParameterError, match=r"^invalid filter 'dangling'$"):
        found.boolean("dangling")


@pytest.mark.parametrize(("value", "truth"), [("1", True), ("true", True), ("0", False), ("False", False)])
def test_booleans(value: str, truth: bool) -> None:
    assert Filters({"dangling": (value,)}).boolean("dangling") is truth


def test_boolean_not_given_or_nonsense() -> None:
    assert Filters().boolean("dangling") is None
    with pytest.raises(InvalidFilterError, match=r"^invalid filter 'dangling=\[maybe\]'$"):
        Filters({"dangling": ("maybe",)}).boolean("dangling")


def test_labels_are_all_required() -> None:
    wanted = Filters({"label": ("a", "b=c")})
    assert wanted.labels({"a": "", "b": "c"})
    assert not wanted.labels({"a": ""})
    assert not wanted.labels({"a": "", "b": "d"})
    assert Filters().labels({})


def test_exact_and_glob() -> None:
    wanted = Filters({"name": ("web*", "db")})
    assert wanted.glob("name", "web-1")
    assert not wanted.glob("name", "cache")
    assert wanted.glob("other", "anything")
    assert wanted.exact("name", "db")
    assert not wanted.exact("name", "web-1")
    assert "name" in wanted


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("kind", True),
        ("^kind$", True),
        ("^kind-2$", False),
        ("in", True),
        ("^/kind$", True),
        ("a(b", False),
        ("", True),
    ],
)
def test_names_are_found_by_regular_expressions(pattern: str, found: bool) -> None:
    assert Filters({"name": (pattern,)}).matches("name", "kind", "/kind") is found


def test_a_name_that_is_no_expression_is_found_as_it_is() -> None:
    assert Filters({"name": ("a(b",)}).matches("name", "a(b")
    assert Filters().matches("name", "any")
