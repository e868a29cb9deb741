"""Which events a client asked for, by Docker's rules: names match from their beginning, images also without a tag."""

from typing import Final

from rundlet.api.filters import Filters
from rundlet.engine.events import Event

_BY_NAME: Final = ("container", "network", "volume", "daemon", "plugin", "service", "node", "secret", "config")


def matches(event: Event, filters: Filters) -> bool:
    """Whether ``event`` fits every filter."""
    action = event.action.partition(":")[0]
    return (
        filters.exact("type", event.kind)
        and (not filters.get("event") or event.action in filters.get("event") or action in filters.get("event"))
        and all(_named(event, kind, filters) for kind in _BY_NAME)
        and _of_image(event, filters)
        and filters.labels(event.attributes)
        and filters.exact("scope", event.scope)
    )


def _named(event: Event, kind: str, filters: Filters) -> bool:
    wanted = filters.get(kind)
    if not wanted:
        return True
    name = event.attributes.get("name", "")
    if event.kind != kind:
        return False
    return any(event.actor.startswith(value) or name.startswith(value) for value in wanted)  # nothing fits all


def _of_image(event: Event, filters: Filters) -> bool:
    wanted = filters.get("image")
    if not wanted:
        return True
    name = event.attributes.get("name" if event.kind == "image" else "image", "")
    if event.kind not in ("image", "container"):
        return False
    known = {event.actor, event.actor.removeprefix("sha256:"), name, _without_tag(event.actor), _without_tag(name)}
    return any(value and value in known for value in wanted)


def _without_tag(name: str) -> str:
    base, colon, tag = name.partition("@")[0].rpartition(":")
    return base if colon and "/" not in tag else name
