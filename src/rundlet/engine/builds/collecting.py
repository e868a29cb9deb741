"""The policy that removes build cache by itself: key ``builder`` of ``daemon.json``.

Its rules are those of ``builder prune``, followed one after the other when a build has ended, and from time to time.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from rundlet.api.builds import BuildPruneOptions
from rundlet.engine.builds.service import BuildService
from rundlet.errors import RundletError

_log = logging.getLogger(__name__)
_LONGEST: Final = 600.0
_AFTER_A_BUILD: Final = 1.0
"""Seconds in which another build may begin."""


class CacheCollector:
    """Made by the wiring when there are rules."""

    def __init__(self, builds: BuildService, rules: Sequence[BuildPruneOptions]) -> None:
        self._builds = builds
        self._rules = rules

    async def run(self) -> None:
        """For as long as the engine runs."""
        while True:
            self._builds.ended.clear()
            await self.collect()
            try:
                await asyncio.wait_for(self._builds.ended.wait(), _LONGEST)
            except TimeoutError:
                continue
            await asyncio.sleep(_AFTER_A_BUILD)

    async def collect(self) -> None:
        """Follow the rules once. What goes wrong is logged."""
        for rule in self._rules:
            try:
                freed = (await self._builds.prune(rule, told=False)).space_reclaimed
            except (RundletError, OSError) as error:
                _log.warning("making room in the build cache: %s", error)
            else:
                if freed:
                    _log.info("%d bytes of the build cache were unused and are gone", freed)
