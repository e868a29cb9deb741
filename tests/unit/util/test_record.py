from typing import Any

import pytest

from rundlet.util.record import Record


class Point(Record):
    x: int
    y: int = 2
    notes: Any = None


def test_fields_come_by_position_by_name_and_by_default() -> None:
    point = Point(1, notes=["a"])

    assert (point.x, point.y, point.notes) == (1, 2, ["a"])
    assert repr(point) == "Point(x=1, y=2, notes=['a'])"


def test_equal_with_equal_fields_of_one_class() -> None:
    class Other(Record):
        x: int
        y: int = 2
        notes: Any = None

    assert Point(1) == Point(1, 2) and Point(1) != Point(3)
    assert Point(1) != Other(1)
    assert len({Point(1), Point(1, 2), Point(3)}) == 2


def test_a_changed_copy_leaves_the_first_as_it_was() -> None:
    point = Point(1)

    assert point.replaced(x=5) == Point(5)
    assert point == Point(1)


def test_nothing_is_set_afterwards() -> None:
    point = Point(1)

    with pytest.raises(AttributeError, match="Point is frozen"):
        setattr(point, "x", 2)  # noqa: B010  # what a checker would refuse
    with pytest.raises(AttributeError, match="Point is frozen"):
        del point.x


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"x": 2}), ((1,), {"z": 2}), ((), {"y": 1})]
)
def test_fields_that_are_missing_twice_there_or_unknown(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="Point"):
        Point(*values, **named)


def test_a_changed_copy_has_no_other_fields() -> None:
    with pytest.raises(TypeError, match="Point takes x, y, notes"):
        Point(1).replaced(z=1)
