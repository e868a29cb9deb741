"""What is written of files that go while they are looked at."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from rundlet.storage.layer import members


@pytest.mark.parametrize("link", [False, True])
def test_another_name_of_a_file_that_went_is_not_a_link_to_nothing(tmp_path: Path, link: bool) -> None:
    if link:
        (tmp_path / "a").symlink_to("target")
    else:
        (tmp_path / "a").write_bytes(b"content")
    for name in ("b", "c"):
        os.link(tmp_path / "a", tmp_path / name, follow_symlinks=False)
    status = (tmp_path / "a").lstat()
    parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with open(tmp_path / "out", "w+b", buffering=0) as out:
        writer = members.Writer(out.fileno())
        (tmp_path / "a").unlink()
        with pytest.raises(FileNotFoundError):
            writer.plain(parent, b"a", b"a", status)
        for base in (b"b", b"c"):
            writer.plain(parent, base, base, status)
        writer.end()
        out.seek(0)
        data = out.read()
    os.close(parent)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name: member for member in archive}
    assert found["b"].issym() is link is stat.S_ISLNK(status.st_mode)
    assert found["b"].isreg() is not link
    assert (found["c"].islnk(), found["c"].linkname) == (True, "b")
