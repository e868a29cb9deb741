"""The store of volumes, where the disk does not play along."""

import shutil
from pathlib import Path

import pytest

from rundlet.util.clock import SystemClock
from rundlet.util.database import Database
from rundlet.volume.store import SCHEMA, VolumeCreateError, VolumeStore


def test_volume_that_can_not_be_made(tmp_path: Path) -> None:
    database = Database.open(":memory:", [SCHEMA])
    store = VolumeStore(str(tmp_path), database, SystemClock(), shutil.rmtree)
    (tmp_path / "made").write_text("a file in the way")
    with pytest.raises(VolumeCreateError, match=r"error while creating volume path '.*/made/_data': not a directory"):
        store.create("made")
    assert store.all() == []
    database.close()
