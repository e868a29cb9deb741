"""The key ``gc`` of the configuration file."""

import pytest

from rundlet.daemon import gcpolicy
from rundlet.engine.images.policy import ImagePolicy
from rundlet.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("document", "policy"),
    [
        ({"keep-storage": "20GB"}, ImagePolicy(20 << 30, 0.0)),
        ({"keep-storage": "1.5 MiB", "unused-for": "168h"}, ImagePolicy(3 << 19, 604_800.0)),
        ({"keep-storage": 1000, "tagged": True}, ImagePolicy(1000, 0.0, tagged=True)),
        ({"unused-for": "1m30s"}, ImagePolicy(None, 90.0)),
    ],
)
def test_what_it_may_say(document: dict[str, object], policy: ImagePolicy) -> None:
    assert gcpolicy.parse(document) == policy


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, 'want "keep-storage", "unused-for" or both'),
        ({"tagged": True}, 'want "keep-storage"'),
        ({"keep-storage": "much"}, "keep-storage: invalid size: 'much'"),
        ({"keep-storage": -1}, "invalid size: -1"),
        ({"keep-storage": True}, "invalid size: True"),
        ({"unused-for": 3600}, "unused-for: invalid duration 3600"),
        ({"unused-for": "a week"}, "invalid duration 'a week'"),
        ({"unused-for": "1h", "tagged": "yes"}, "tagged: want true or false"),
        ({"unused-for": "1h", "keep": 1}, "any configuration option: keep"),
    ],
)
def test_what_it_may_not_say(document: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        gcpolicy.parse(document)
    assert message in str(caught.value)
