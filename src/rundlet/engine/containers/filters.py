"""``ps --filter``: which containers a list shows. See: Engine API, ContainerList."""

from collections.abc import Callable, Iterable, Sequence

from rundlet.api.container_config import PortMap
from rundlet.api.filters import Filters, InvalidFilterError
from rundlet.container.record import Record
from rundlet.container.state import Status
from rundlet.engine.containers import documents, ports
from rundlet.errors import InvalidParameterError

STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead")
HEALTHS = ("none", "starting", "healthy", "unhealthy")


class Selection:
    """One request's filters, checked once and applied to each container.

    ``find`` resolves a container named by ``before``/``since``; ``ancestors`` gives the image IDs that ``ancestor=x``
    means; ``networks`` the names and IDs of a container's networks; ``port_map`` its published ports; ``health`` its
    health's name. Raises InvalidFilterError and what ``find`` raises.
    """

    def __init__(
        self,
        filters: Filters,
        *,
        find: Callable[[str], Record],
        ancestors: Callable[[str], Iterable[str]],
        networks: Callable[[Record], Iterable[str]],
        port_map: Callable[[Record], PortMap],
        health: Callable[[Record], str],
    ) -> None:
        self._filters = filters
        self._networks = networks
        self._ports = port_map
        self._health = health
        for key, what, known in (("status", "state", STATUSES), ("health", "health", HEALTHS)):
            for value in filters.get(key):
                if value not in known:
                    why = f"invalid value for {what} ({value}): must be one of {', '.join(known)}"
                    raise InvalidFilterError(f"{key}={value}", why)
        self._wanted_ports = {key: [_span(key, value) for value in filters.get(key)] for key in ("publish", "expose")}
        self._exited = self._integers("exited")
        self._ancestors = {image for name in filters.get("ancestor") for image in ancestors(name)}
        self._before = [find(name) for name in filters.get("before")]
        self._since = [find(name) for name in filters.get("since")]
        if filters.boolean("is-task"):
            self._tasks = True
        else:
            self._tasks = False

    @property
    def widens(self) -> bool:
        """Whether stopped containers are looked at even without ``all``."""
        return bool(self._filters.get("status"))

    def matches(self, record: Record) -> bool:
        filters = self._filters
        if not filters:
            return True
        config = documents.config(record)
        return (
            not self._tasks
            and filters.matches("name", record.name, f"/{record.name}")
            and filters.matches("id", record.id)
            and filters.labels(config.labels or {})
            and (not filters.get("status") or record.state.status.value in filters.get("status"))
            and self._by_exit(record)
            and ("ancestor" not in filters or record.image_id in self._ancestors)
            and all(record.created_ns < other.created_ns for other in self._before)
            and all(record.created_ns > other.created_ns for other in self._since)
            and self._by_volume(record)
            and self._by_network(record)
            and self._by_port(record)
            and (not filters.get("health") or (self._health(record) or "none") in filters.get("health"))
            and filters.exact("isolation", documents.host(record).isolation or "default")
        )

    def _integers(self, key: str) -> Sequence[int]:
        found: list[int] = []
        for value in self._filters.get(key):
            try:
                found.append(int(value))
            except ValueError as exc:
                why = f'strconv.Atoi: parsing "{value}": invalid syntax'
                raise InvalidFilterError(f"{key}={value}", why) from exc
        return found

    def _by_exit(self, record: Record) -> bool:
        if "exited" not in self._filters:
            return True
        return record.state.status is Status.EXITED and record.state.exit_code in self._exited

    def _by_volume(self, record: Record) -> bool:
        wanted = self._filters.get("volume")
        return not wanted or any(
            value in (point.name, point.source, point.destination) for point in record.mounts for value in wanted
        )

    def _by_network(self, record: Record) -> bool:
        wanted = self._filters.get("network")
        names = set(self._networks(record)) if wanted else set()
        return not wanted or any(value in names or any(n.startswith(value) for n in names) for value in wanted)

    def _by_port(self, record: Record) -> bool:
        """One of the host's ports or one of the container's, of those asked for."""
        if "publish" not in self._filters and "expose" not in self._filters:
            return True
        return self._any_port("publish", self._published(record)) or self._any_port("expose", self._exposed(record))

    def _published(self, record: Record) -> set[str]:
        """By the host's numbers, as Docker has it."""
        return {
            f"{binding.host_port}/{port.partition('/')[2]}"
            for port, bindings in self._ports(record).items()
            for binding in bindings or ()
            if binding.host_port
        }

    def _exposed(self, record: Record) -> set[str]:
        """Of containers that run, as Docker has it."""
        return set(self._ports(record))

    def _any_port(self, key: str, have: set[str]) -> bool:
        spans = [span for span in map(ports.span, have) if span is not None]
        return any(
            kind == protocol and first in numbers
            for numbers, protocol in self._wanted_ports[key]
            for (first, *_), kind in spans
        )


def _span(key: str, value: str) -> ports.Span:
    found = ports.span(value)
    if found is None:
        text = value.partition("/")[0]
        raise InvalidParameterError(
            f'error while looking up for {key} {value}: strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return found
