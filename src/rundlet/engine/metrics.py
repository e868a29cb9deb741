"""What the engine counts, as Prometheus reads it; names, labels and units are dockerd's.

See: Prometheus, "Exposition formats", text format 0.0.4.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from typing import Final

from rundlet import __version__
from rundlet.container.state import Status
from rundlet.engine import machine
from rundlet.engine.containers.health import HealthMonitor
from rundlet.engine.context import Context

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_HELP: Final = {
    "container": "Seconds that actions on containers took",
    "network": "Seconds that actions on networks took",
}
_STATES: Final = {"running": (Status.RUNNING, Status.RESTARTING), "paused": (Status.PAUSED,)}


class _Histogram:
    """How many took how long."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, label: str) -> Iterator[str]:
        total = 0
        for bound, count in zip((*map(_number, _BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{label},le="{bound}"}} {total}'
        yield f"{name}_sum{{{label}}} {self._sum!r}"
        yield f"{name}_count{{{label}}} {total}"


class Metrics:
    """Made by the wiring."""

    def __init__(self, context: Context, engine_id: str, health: HealthMonitor) -> None:
        self._context = context
        self._id = engine_id
        self._health = health
        self._actions: dict[tuple[str, str], _Histogram] = {}

    def observe(self, noun: str, action: str, seconds: float) -> None:
        """An action on a ``container`` or a ``network`` has been done."""
        self._actions.setdefault((noun, action), _Histogram()).add(seconds)

    def render(self) -> str:
        """Everything, as of now."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for noun, text in _HELP.items():
            name = f"engine_daemon_{noun}_actions_seconds"
            yield from _head(name, "histogram", text)
            for (of, action), histogram in sorted(self._actions.items()):
                if of == noun:
                    yield from histogram.lines(name, f'action="{action}"')
        name = "engine_daemon_container_states_containers"
        yield from _head(name, "gauge", "Containers by state")
        for state, count in self._states().items():
            yield f'{name}{{state="{state}"}} {count}'
        yield from _single("engine_daemon_engine_cpus_cpus", "gauge", "Processors of the machine", machine.cpus())
        yield from _single("engine_daemon_engine_memory_bytes", "gauge", "Memory of the machine", machine.memory())
        yield from _head("engine_daemon_engine_info", "gauge", "The engine and what it runs on")
        yield f"engine_daemon_engine_info{{{_labels(self._information())}}} 1"
        events = self._context.events
        yield from _single("engine_daemon_events_total", "counter", "Events so far", events.total)
        yield from _single("engine_daemon_events_subscribers_total", "gauge", "Who listens to events", events.listeners)
        yield from _single("engine_daemon_health_checks_total", "counter", "Health checks so far", self._health.checks)
        failed = self._health.failures
        yield from _single("engine_daemon_health_checks_failed_total", "counter", "Those that failed", failed)

    def _states(self) -> dict[str, int]:
        found = dict.fromkeys((*_STATES, "stopped"), 0)
        for record in self._context.containers:
            found[next((name for name, states in _STATES.items() if record.state.status in states), "stopped")] += 1
        return found

    def _information(self) -> dict[str, str]:
        name, release = machine.distribution()
        return {
            "architecture": machine.architecture(),
            "commit": "",
            "daemon_id": self._id,
            "graphdriver": self._context.snapshots.driver,
            "kernel": machine.kernel(),
            "os": name,
            "os_type": "linux",
            "os_version": release,
            "version": __version__,
        }


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _single(name: str, kind: str, text: str, value: int) -> Iterator[str]:
    yield from _head(name, kind, text)
    yield f"{name} {value}"


def _labels(values: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)
