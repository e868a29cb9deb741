"""Points in time as query parameters give them."""

import pytest

from rundlet.errors import InvalidParameterError
from rundlet.server import timestamps


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("", None),
        ("0", 0),
        ("1136073600", 1_136_073_600_000_000_000),
        ("1136073600.000000001", 1_136_073_600_000_000_001),
        ("1.5", 1_500_000_000),
        ("2006-01-01T00:00:00Z", 1_136_073_600_000_000_000),
        ("2006-01-01T01:00:00.25+01:00", 1_136_073_600_250_000_000),
    ],
)
def test_parse(text: str, nanoseconds: int | None) -> None:
    assert timestamps.parse(text) == nanoseconds


@pytest.mark.parametrize("text", ["x", "1.x", "2006-01-01", "2006-13-01T00:00:00Z", "1.1234567890"])
def test_nonsense(text: str) -> None:
    with pytest.raises(InvalidParameterError):
        timestamps.parse(text)
