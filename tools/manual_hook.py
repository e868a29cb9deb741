"""Hatchling's hook: manual pages, made from the command table, go into the wheel as ``share/man/man1``."""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManualHook(BuildHookInterface[Any]):
    """Needs the standard library, the command table and nothing that is installed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path[:0] = [self.root, str(Path(self.root, "src"))]
        try:
            from tools.reference import manual
        finally:
            del sys.path[:2]
        # What is written here is packed after this returns; the object goes with the build.
        self._directory = tempfile.TemporaryDirectory(prefix="rundlet-man-")
        for name, text in manual.pages():
            path = Path(self._directory.name, name)
            path.write_text(text)
            build_data["shared_data"][str(path)] = f"share/man/man1/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._directory.cleanup()
