"""Which files and which Dockerfile a build is about."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from rundlet.cli.building.packing import Tree
from rundlet.cli.building.sources import Source, is_remote, open_source
from rundlet.cli.exit import CommandError


def members(source: Source) -> dict[str, bytes]:
    assert source.body is not None
    pieces = source.body.pack() if isinstance(source.body, Tree) else source.body
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        files = ((member, archive.extractfile(member)) for member in archive if member.isreg())
        return {member.name: file.read() for member, file in files if file is not None}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    root.mkdir()
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "file").write_text("content")
    return root


def standard_input(data: bytes) -> int:
    """Put ``data`` where standard input is; the descriptor that brings the old one back."""
    saved = os.dup(0)
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    os.dup2(reader, 0)
    os.close(reader)
    return saved


def restored(saved: int) -> None:
    os.dup2(saved, 0)
    os.close(saved)


def test_a_directory(context: Path) -> None:
    source = open_source(str(context), "")
    assert source.query == {"dockerfile": "Dockerfile"}
    assert source.dockerfile == b"FROM scratch\n"
    assert members(source) == {"Dockerfile": b"FROM scratch\n", "file": b"content"}


def test_another_file_in_it(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (context / "sub").mkdir()
    (context / "sub/Other").write_text("FROM other\n")
    monkeypatch.chdir(context)
    assert open_source(".", "sub/Other").query == {"dockerfile": "sub/Other"}


def test_a_containerfile_will_do(context: Path) -> None:
    (context / "Dockerfile").rename(context / "Containerfile")
    assert open_source(str(context), "").query == {"dockerfile": "Containerfile"}


def test_a_file_from_elsewhere_travels_hidden(context: Path, tmp_path: Path) -> None:
    (tmp_path / "Elsewhere").write_text("FROM elsewhere\n")
    source = open_source(str(context), str(tmp_path / "Elsewhere"))
    name = source.query["dockerfile"]
    assert name.startswith(".dockerfile.")
    assert source.shown == "Elsewhere"
    found = members(source)
    assert found[name] == b"FROM elsewhere\n"
    assert found[".dockerignore"].split() == [b".dockerignore", name.encode()]
    assert found["Dockerfile"] == b"FROM scratch\n"


def test_an_ignored_file_travels_hidden(context: Path) -> None:
    (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    source = open_source(str(context), "")
    found = members(source)
    assert "Dockerfile" not in found
    assert found[source.query["dockerfile"]] == b"FROM scratch\n"


def test_the_dockerfiles_own_ignore_file_goes_first(context: Path) -> None:
    (context / ".dockerignore").write_text("other")
    (context / "Dockerfile.dockerignore").write_text("file")
    assert "file" not in members(open_source(str(context), ""))


def test_a_dockerfile_from_standard_input(context: Path) -> None:
    saved = standard_input(b"FROM stdin\n")
    try:
        source = open_source(str(context), "-")
    finally:
        restored(saved)
    assert members(source)[source.query["dockerfile"]] == b"FROM stdin\n"
    assert source.shown == "Dockerfile"


def test_only_a_dockerfile() -> None:
    saved = standard_input(b"FROM stdin\n" * 100)
    try:
        source = open_source("-", "")
    finally:
        restored(saved)
    assert members(source) == {"Dockerfile": b"FROM stdin\n" * 100}
    assert source.dockerfile == b"FROM stdin\n" * 100


def test_an_archive_passes_as_it_is() -> None:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    for data in (memory.getvalue(), b"\x1f\x8b\x08rest", b"\x28\xb5\x2f\xfdrest", b"\xfd7zXZ\x00rest"):
        saved = standard_input(data)
        try:
            source = open_source("-", "Other")
            assert source.body is not None
            assert not isinstance(source.body, Tree)
            assert b"".join(source.body) == data
        finally:
            restored(saved)
        assert source.query == {"dockerfile": "Other"}


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("https://github.com/a/b.git#main:dir", True),
        ("http://x/y.tar", True),
        ("git://x/y", True),
        ("git@github.com:a/b", True),
        ("me@host:repo", True),
        ("ssh://git@x/y", True),
        ("github.com/a/b", True),
        (".", False),
        ("dir/github.com/a", False),
        ("a/me@host:x", False),
        ("me@host", False),
    ],
)
def test_what_is_remote(text: str, remote: bool) -> None:
    assert is_remote(text) is remote


def test_a_url_is_the_engines_business() -> None:
    source = open_source("https://github.com/a/b.git#main", "build/Dockerfile")
    assert source.query == {"remote": "https://github.com/a/b.git#main", "dockerfile": "build/Dockerfile"}
    assert source.body is None


@pytest.mark.parametrize(
    ("path", "file", "message"),
    [
        ("-", "-", "can't use stdin for both build context and dockerfile"),
        ("nowhere", "", 'unable to prepare context: path "nowhere" not found'),
        ("Dockerfile", "", "context must be a directory: Dockerfile"),
        (".", "Missing", "failed to read dockerfile: open Missing: no such file or directory"),
        ("https://x/y.git", "-", "is not supported by Rundlet"),
    ],
)
def test_complaints(context: Path, monkeypatch: pytest.MonkeyPatch, path: str, file: str, message: str) -> None:
    monkeypatch.chdir(context)
    with pytest.raises(CommandError) as caught:
        open_source(path, file)
    assert message in caught.value.message
    assert caught.value.message.startswith("ERROR: ")


def test_a_bad_ignore_file(context: Path) -> None:
    (context / ".dockerignore").write_text("[a\n")
    with pytest.raises(CommandError, match=r"error parsing \.dockerignore: syntax error in pattern"):
        open_source(str(context), "")
