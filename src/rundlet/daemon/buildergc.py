"""The key ``builder`` of ``daemon.json``, dockerd's: what of the build cache goes by itself.

    "builder": {"gc": {"enabled": true, "defaultKeepStorage": "20GB",
                       "policy": [{"keepStorage": "10GB", "filter": ["unused-for=168h"]}, {"all": true}]}}

Without the key nothing goes by itself. See: docker build, "Garbage collection".
"""

from collections.abc import Mapping
from typing import Any, Final

from rundlet.api.builds import BuildPruneOptions
from rundlet.api.filters import Filters
from rundlet.daemon import sizes
from rundlet.daemon.errors import ConfigError

Policy = tuple[BuildPruneOptions, ...]
_SIZES: Final = {
    "keepStorage": "reserved_space",
    "reservedSpace": "reserved_space",
    "maxUsedSpace": "max_used_space",
    "minFreeSpace": "min_free_space",
}
_DEFAULTS: Final = {f"default{key[0].upper()}{key[1:]}": field for key, field in _SIZES.items()}
_FILTERS: Final = frozenset(
    ("until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private")
)


def parse(document: Mapping[str, Any]) -> Policy:
    """Rules, in the order in which they are followed; none: nothing goes. Raises ConfigError, SizeError."""
    document = {name.lower(): value for name, value in document.items()}  # Go's JSON takes a name in any case
    collected = document.get("gc", {})
    if set(document) - {"gc", "entitlements"} or not isinstance(collected, dict):
        raise ConfigError('builder: want {"gc": {"enabled": true, …}}')
    if document.get("entitlements"):
        raise ConfigError("builder: entitlements is not supported by Rundlet: a build asks for what it needs")
    unknown = set(collected) - {"enabled", "policy", *_DEFAULTS}
    if unknown:
        raise ConfigError(f"builder: gc: {min(unknown)}: there are enabled, policy, {', '.join(_DEFAULTS)}")
    if collected.get("enabled") is not True:
        return ()
    general = _limits(collected, _DEFAULTS)
    rules = collected.get("policy") or [{}]
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ConfigError("builder: gc: policy: want a list of objects")
    if not general and not collected.get("policy"):
        raise ConfigError("builder: gc: want defaultKeepStorage, or another limit, or a policy")
    return tuple(_rule(rule, general) for rule in rules)


def _rule(rule: Mapping[str, Any], general: Mapping[str, int]) -> BuildPruneOptions:
    unknown = set(rule) - {"all", "filter", "keepDuration", *_SIZES}
    if unknown:
        raise ConfigError(
            f"builder: gc: policy: {min(unknown)}: there are all, filter, keepDuration, {', '.join(_SIZES)}"
        )
    limits = _limits(rule, _SIZES) or general
    filters = _filters(rule.get("filter") or [])
    if "keepDuration" in rule:
        filters["unused-for"] = (str(rule["keepDuration"]),)
    return BuildPruneOptions(
        filters=Filters(filters),
        reserved_space=limits.get("reserved_space", 0),
        max_used_space=limits.get("max_used_space", 0),
        min_free_space=limits.get("min_free_space", 0),
    )


def _limits(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    return {field: sizes.parse(f"builder: gc: {key}", found[key]) for key, field in names.items() if key in found}


def _filters(given: object) -> dict[str, tuple[str, ...]]:
    words = list(given) if isinstance(given, list | dict) else [given]
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        name, equals, value = word.partition("=") if isinstance(word, str) else ("", "", "")
        if not equals or name not in _FILTERS:
            raise ConfigError(f"builder: gc: policy: filter: {word}: want unused-for=168h, type=regular, …")
        found[name] = (*found.get(name, ()), value)
    return found
