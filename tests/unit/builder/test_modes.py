"""``--chmod``: what is read, and what it does to a mode, as chmod(1) does."""

import os
import subprocess
from pathlib import Path

import pytest

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.modes import parse_chmod
from rundlet.storage.files.place import changed


@pytest.mark.parametrize("text", ["0", "644", "0755", "7777"])
def test_octal(text: str) -> None:
    assert parse_chmod(text) == int(text, 8)


@pytest.mark.parametrize("text", ["8", "10000", "-1", "u", "x=r", "u=q", "u=rw go=r", "u=r,,g=r", "٣"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(DockerfileError, match="invalid chmod parameter"):
        parse_chmod(text)


@pytest.mark.parametrize(
    "text",
    ["u=rwX,go=rX", "a+x", "+x", "-x", "=rw", "go-rwx", "u=g", "g=u,o=", "u+s", "g+s", "ug-s", "+t", "o+t", "a=X",
     "u-x+w", "u=rwx-w,g+w", "og+u", "ugo=rwxt", "u+t"],
)  # fmt: skip
@pytest.mark.parametrize("before", [0o644, 0o750, 0o000, 0o7777, 0o421])
def test_changes_are_those_of_chmod(tmp_path: Path, text: str, before: int) -> None:
    file = tmp_path / "f"
    file.touch()
    os.chmod(file, before)
    subprocess.run(["chmod", text, str(file)], check=True, umask=0o022)
    changes = parse_chmod(text)
    assert isinstance(changes, tuple)
    assert oct(changed(before, changes, directory=False)) == oct(file.stat().st_mode & 0o7777)


def test_directories_are_executable() -> None:
    changes = parse_chmod("u=rwX,go=rX")
    assert isinstance(changes, tuple)
    assert changed(0o700, changes, directory=True) == 0o755
    assert changed(0o600, changes, directory=False) == 0o644
