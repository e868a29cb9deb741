"""The ``filters`` query parameter: JSON in either of Docker's two shapes, and the test for what an endpoint accepts."""

import fnmatch
from collections.abc import Collection

import msgspec
from msgspec import field

from rundlet.errors import InvalidParameterError
from rundlet.util import regular

CONTAINERS = frozenset(
    "ancestor before exited expose health id is-task isolation label name network publish since status volume".split()
)
BUILD_PRUNE = frozenset("description id inuse label label! parent private shared type until unused-for".split())
CONTAINERS_PRUNE = frozenset({"label", "label!", "until"})
IMAGES = frozenset("before dangling label label! reference since until".split())
IMAGES_PRUNE = frozenset({"dangling", "label", "label!", "until"})
IMAGES_SEARCH = frozenset({"is-automated", "is-official", "stars"})
NETWORKS = frozenset("dangling driver id label name scope type".split())
NETWORKS_PRUNE = frozenset({"label", "label!", "until"})
PLUGINS = frozenset({"capability", "enabled"})
VOLUMES = frozenset({"dangling", "driver", "label", "name"})
VOLUMES_PRUNE = frozenset({"all", "label", "label!"})
EVENTS = frozenset(
    "config container daemon event image label network node plugin scope secret service type volume".split()
)

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Filters(msgspec.Struct, frozen=True):
    """Values by key: values of one key are alternatives, keys are all required."""

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str) -> tuple[str, ...]:
        """The values of ``key``; empty when it was not given."""
        return self.values.get(key, ())

    def exact(self, key: str, value: str) -> bool:
        """Whether ``key`` was not given, or one of its values is ``value``. One without values is as not given."""
        return not self.values.get(key) or value in self.values[key]

    def matches(self, key: str, *names: str) -> bool:
        """Whether ``key`` was not given, or a value is one of ``names``, or as a regular expression finds one."""
        return not self.values.get(key) or any(_finds(pattern, names) for pattern in self.values[key])

    def boolean(self, key: str) -> bool | None:
        """The truth value of ``key``; None when it was not given. Raises InvalidParameterError for anything else."""
        given = self.values.get(key)
        if given is None:
            return None
        if len(given) == 1 and given[0] in _TRUE:
            return True
        if len(given) == 1 and given[0] in _FALSE:
            return False
        raise InvalidFilterError(f"{key}=[{' '.join(given)}]" if given else key)

    def labels(self, labels: dict[str, str], key: str = "label") -> bool:
        """Whether ``labels`` has every ``name`` or ``name=value`` that was asked for."""
        for want in self.values.get(key, ()):
            name, equals, value = want.partition("=")
            if name not in labels or (equals and labels[name] != value):
                return False
        return True

    def glob(self, key: str, value: str) -> bool:
        """Whether ``key`` was not given, or one of its values is a shell pattern that fits ``value``."""
        return not self.values.get(key) or any(fnmatch.fnmatchcase(value, pattern) for pattern in self.values[key])

    def validate(self, accepted: Collection[str]) -> "Filters":
        """These filters. Raises InvalidFilterError when an endpoint does not know one of them."""
        for key in self.values:
            if key not in accepted:
                raise InvalidFilterError(key)
        return self


def _finds(pattern: str, names: Collection[str]) -> bool:
    if pattern in names:
        return True
    try:
        wanted = regular.expression(pattern)
    except regular.PatternError:
        return False
    return any(wanted.search(name) for name in names)


class InvalidFilterError(InvalidParameterError):
    """``invalid filter 'x'``, as clients match it."""

    reason = "invalid-filter"

    def __init__(self, what: str, why: str = "") -> None:
        super().__init__(f"invalid filter '{what}'" + (f": {why}" if why else ""))
        self.what = what


def parse(text: str, accepted: Collection[str] | None = None) -> Filters:
    """Parse ``{"label": ["a"]}`` or, as clients before 1.22 send it, ``{"label": {"a": true}}``: its keys count.

    Raises InvalidParameterError: for JSON of another shape, or a key that is not in ``accepted``.
    """
    if not text:
        return Filters()
    try:
        data = msgspec.json.decode(text, type=dict[str, list[str] | dict[str, bool] | None] | None)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise InvalidParameterError(f"invalid filter: {exc}") from exc
    found = Filters({key: tuple(values) for key, values in (data or {}).items() if values is not None})
    return found if accepted is None else found.validate(accepted)
