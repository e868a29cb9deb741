"""Filters of ``buildx du``."""

import pytest

from rundlet.api.buildkit import UsageRecord
from rundlet.engine.buildkit.workers import _holds, _terms
from rundlet.errors import NotSupportedError

STEP = UsageRecord("abc", in_use=True, description="/bin/sh -c true", record_type="regular")
MOUNT = UsageRecord("def", mutable=True, shared=True, description="cache", record_type="exec.cachemount")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("type==regular", [STEP]),
        ("type!=regular", [MOUNT]),
        ("type=regular", [STEP]),
        ("id~=b", [STEP]),
        ('description~="sh -c"', [STEP]),
        ("inuse", [STEP]),
        ("inuse==true", [STEP]),
        ("inuse==false", [MOUNT]),
        ("!inuse", [MOUNT]),
        ("shared,mutable", [MOUNT]),
        ("private,type==exec.cachemount", []),
        ("immutable", [STEP]),
    ],
)
def test_what_is_shown(text: str, found: list[UsageRecord]) -> None:
    assert [one for one in (STEP, MOUNT) if _holds(_terms(text), one)] == found


@pytest.mark.parametrize("text", ["colour==red", "type", "inuse==yes", "type<regular"])
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(NotSupportedError, match="filter"):
        _terms(text)
