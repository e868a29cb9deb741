"""Which events a filter lets through."""

import pytest

from rundlet.api.filters import Filters
from rundlet.engine.event_filters import matches
from rundlet.engine.events import Event

DIE = Event("container", "die", "c0ffee", {"name": "web", "image": "repo/app:1", "a": "b"}, 1)
HEALTH = Event("container", "health_status: healthy", "c0ffee", {"name": "web", "image": "repo/app:1"}, 1)
TAG = Event("image", "tag", "sha256:abcd", {"name": "repo/app:1"}, 1)
CONNECT = Event("network", "connect", "1234", {"name": "web-net", "container": "c0ffee"}, 1)
PRUNE = Event("builder", "prune", "", {"reclaimed": "0"}, 1)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [DIE, HEALTH, TAG, CONNECT, PRUNE]),
        ({"type": ("container",)}, [DIE, HEALTH]),
        ({"container": ("web",)}, [DIE, HEALTH]),
        ({"container": ("c0f",)}, [DIE, HEALTH]),
        ({"container": ("other",)}, []),
        ({"network": ("web",)}, [CONNECT]),
        ({"image": ("repo/app",)}, [DIE, HEALTH, TAG]),
        ({"image": ("repo/app:1",)}, [DIE, HEALTH, TAG]),
        ({"image": ("repo/app:2",)}, []),
        ({"image": ("abcd",)}, [TAG]),
        ({"event": ("health_status",)}, [HEALTH]),
        ({"event": ("die", "tag")}, [DIE, TAG]),
        ({"label": ("a=b",)}, [DIE]),
        ({"label": ("a",)}, [DIE]),
        ({"daemon": ("x",)}, []),
        ({"scope": ("swarm",)}, []),
        ({"scope": ("local",), "type": ("builder",)}, [PRUNE]),
    ],
)
def test_what_matches(filters: dict[str, tuple[str, ...]], expected: list[Event]) -> None:
    every = [DIE, HEALTH, TAG, CONNECT, PRUNE]
    assert [event for event in every if matches(event, Filters(filters))] == expected
