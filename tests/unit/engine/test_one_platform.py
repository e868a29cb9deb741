"""``save`` and ``load`` take one platform."""

import pytest

from rundlet.engine.images.service import _one_platform
from rundlet.errors import InvalidParameterError


@pytest.mark.parametrize(("given", "chosen"), [((), ""), (("linux/arm64",), "linux/arm64")])
def test_one_or_none(given: tuple[str, ...], chosen: str) -> None:
    assert _one_platform(given) == chosen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("linux/amd64", "linux/arm64/v8"), "^multiple platform parameters not supported$"),
        (("a/b/c/d",), "cannot parse platform specifier"),
    ],
)
def test_what_is_none(given: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidParameterError, match=words):
        _one_platform(given)
