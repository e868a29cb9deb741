"""An engine is started from any directory, also from one that the user may not enter."""

import os
from pathlib import Path

import pytest

from rundlet.cli import engine_start


def test_a_directory_that_may_not_be_entered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    here = engine_start._here()
    assert os.readlink(f"/proc/self/fd/{here}") == str(tmp_path)
    os.close(here)

    def refuse(*_arguments: object) -> int:
        raise PermissionError(13, "Permission denied", ".")

    monkeypatch.setattr(os, "open", refuse)
    assert engine_start._here() == -1
