"""Events, as ``GET /events`` streams them."""

from msgspec import field

from rundlet.api.base import LowerWire, Options, Wire, always, always_map
from rundlet.api.filters import Filters


class EventActor(Wire, frozen=True):
    id: str = always("", name="ID")
    attributes: dict[str, str] = always_map()


class Event(LowerWire, frozen=True):
    """``status``, ``id`` and ``from`` repeat the actor for containers and images; older clients read them.

    ``time`` in seconds, ``time_nano`` in nanoseconds since the epoch.
    """

    status: str = ""
    id: str = ""
    from_: str = field(name="from", default="")
    type: str = always("", name="Type")
    action: str = always("", name="Action")
    actor: EventActor = always(EventActor(), name="Actor")
    scope: str = always("local")
    time: int = 0
    time_nano: int = field(name="timeNano", default=0)


class EventsOptions(Options, frozen=True):
    """Nanoseconds since the epoch; None: from now, without an end."""

    since: int | None = None
    until: int | None = None
    filters: Filters = Filters()
