"""Restart policies as Docker has them: ``no``, ``on-failure[:n]``, ``always``, ``unless-stopped``."""

from collections.abc import Mapping
from typing import Any, Final

NAMES: Final = ("no", "on-failure", "always", "unless-stopped")
_FIRST: Final = 0.1
_LAST: Final = 60.0
_GOOD: Final = 10.0  # seconds of life after which a container counts as having started well


class Policy:
    """The policy in force, and how often it was applied. The engine sets "no" before it stops a container."""

    __slots__ = ("_delay", "_maximum", "_name", "count")

    def __init__(self, section: Mapping[str, Any]) -> None:
        """``{"policy", "max"}`` of the spec. Raises: ValueError."""
        self.count = 0
        self._delay = 0.0
        self._name = "no"
        self._maximum = 0
        self.set(section.get("policy") or "no", section.get("max") or 0)

    def set(self, name: str, maximum: int) -> None:
        """``maximum`` 0: without end. Raises: ValueError."""
        if name not in NAMES:
            raise ValueError(f"invalid restart policy: unknown policy '{name}'")
        self._name, self._maximum = name, maximum

    def wanted(self, code: int) -> bool:
        """Whether a container that ended with ``code`` is to be started again."""
        if self._name == "on-failure":
            return code != 0 and (not self._maximum or self.count < self._maximum)
        return self._name in ("always", "unless-stopped")

    def delay(self, lived: float) -> float:
        """Seconds to wait before the next start, which is counted: doubling, from the start after a good life."""
        self._delay = _FIRST if not self._delay or lived >= _GOOD else min(_LAST, self._delay * 2)
        self.count += 1
        return self._delay
