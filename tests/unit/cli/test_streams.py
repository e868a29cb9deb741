"""Frames, detach keys, progress, references, archives."""

import io
import os
import socket
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rundlet.cli.exit import CommandError, start_error_code
from rundlet.cli.packing import pack
from rundlet.cli.progress import bar, show
from rundlet.cli.reference import parse
from rundlet.cli.streams import Demultiplexer, DetachKeys, StreamError, parse_detach_keys
from rundlet.cli.suggest import did_you_mean
from rundlet.cli.unpacking import Pieces, unpack


def frame(stream: int, data: bytes) -> bytes:
    return bytes((stream, 0, 0, 0)) + len(data).to_bytes(4, "big") + data


@given(st.lists(st.tuples(st.sampled_from((1, 2)), st.binary(max_size=50))), st.integers(min_value=1, max_value=20))
def test_frames_may_be_cut_anywhere(frames: list[tuple[int, bytes]], step: int) -> None:
    wire = b"".join(frame(*one) for one in frames)
    demultiplexer = Demultiplexer()
    out = {1: b"", 2: b""}
    for start in range(0, len(wire), step):
        for stream, piece in demultiplexer.feed(wire[start : start + step]):
            out[stream] += piece
    assert out == {stream: b"".join(data for one, data in frames if one == stream) for stream in (1, 2)}


def test_an_error_within_the_stream() -> None:
    with pytest.raises(StreamError, match="boom"):
        list(Demultiplexer().feed(frame(3, b"boom")))
    with pytest.raises(StreamError, match="Unrecognized input header"):
        list(Demultiplexer().feed(b"HTTP/1.1 500"))


def test_detach_keys() -> None:
    assert parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_detach_keys("a,ctrl-],ctrl-@") == b"a\x1d\x00"
    assert parse_detach_keys("ctrl-a,DEL") == b"\x01\x7f"
    keys = DetachKeys(b"\x10\x11")
    keys.feed(b"x\x10y\x11\x10\x10")
    assert not keys.detached
    keys.feed(b"\x11")
    assert keys.detached
    with pytest.raises(ValueError, match="Unknown character"):
        parse_detach_keys("ctrl-é")


def test_plain_progress_shows_states_only() -> None:
    out = io.StringIO()
    messages: list[dict[str, Any]] = [
        {"status": "Pulling from library/x", "id": "latest"},
        {"status": "Downloading", "id": "abc", "progressDetail": {"current": 5, "total": 10}},
        {"status": "Download complete", "id": "abc", "progressDetail": {}},
        {"status": "Digest: sha256:1"},
    ]
    show(messages, out)
    assert out.getvalue() == "latest: Pulling from library/x\nabc: Download complete\nDigest: sha256:1\n"


def test_progress_ends_with_the_engines_error() -> None:
    with pytest.raises(CommandError, match=r"^no space left$"):
        show([{"errorDetail": {"message": "no space left"}, "error": "x"}], io.StringIO(), quiet=True)


def test_bars() -> None:
    assert bar({}, 200) == ""
    assert bar({"current": 50, "total": 100}, 200) == "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"
    assert bar({"current": 50, "total": 100}, 80) == "     50B/100B"
    assert bar({"current": 1500}, 80) == "   1.5kB"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("library/debian:12", "docker.io/library/debian:12", "debian:12"),
        ("docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("ghcr.io/x", "ghcr.io/x:latest", "ghcr.io/x:latest"),
    ],
)
def test_image_names(text: str, full: str, familiar: str) -> None:
    name = parse(text).with_default_tag()
    assert str(name) == full
    assert name.familiar == familiar


@pytest.mark.parametrize("text", ["", "a:b:c", "A", "a//b", "a:", "-a", "a_-b", "x@sha256:aaa", "f" * 64, "http://x"])
def test_image_names_that_are_none(text: str) -> None:
    with pytest.raises(CommandError, match="invalid re"):
        parse(text)


def test_suggestions() -> None:
    assert did_you_mean("pss", ["ps", "pull"]) == "\nDid you mean 'ps'?"
    assert did_you_mean("--al", ["--all"], "") == "\nDid you mean '--all'?"
    assert did_you_mean("completely", ["ps", "run"]) == ""


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "foo": executable file not found in $PATH', 127),
        ('exec: "/x": stat /x: no such file or directory', 127),
        ('exec: "/etc": permission denied', 126),
        ("exec format error", 126),
        ("driver failed programming external connectivity", 125),
    ],
)
def test_exit_codes_of_a_failed_start(message: str, code: int) -> None:
    assert start_error_code(message) == code


def test_an_archive_comes_back_as_it_went(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"x" * 1000)
    (source / "file").chmod(0o640)
    (source / "link").symlink_to("/etc")
    os.link(source / "file", source / "sub" / "hard")
    os.mkfifo(source / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket"))
    target = tmp_path / "target"
    target.mkdir()
    unpack(Pieces(pack(str(source), "name", contents_only=False)), str(target), lambda name: name, owners=False)
    made = target / "name"
    assert sorted(os.listdir(made)) == ["fifo", "file", "link", "sub"]
    assert (made / "file").read_bytes() == b"x" * 1000
    assert (made / "file").stat().st_mode & 0o777 == 0o640
    assert os.readlink(made / "link") == "/etc"
    assert (made / "sub" / "hard").samefile(made / "file")


def archive(*members: tuple[str, bytes, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                tar.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, "x")],
        [("/../out", tarfile.REGTYPE, "x")],
        [("dir", tarfile.SYMTYPE, ".."), ("dir/out", tarfile.REGTYPE, "x")],
        [("out", tarfile.LNKTYPE, "../../secret")],
        [("dir", tarfile.SYMTYPE, ".."), ("out", tarfile.LNKTYPE, "dir/secret")],
        [("dev", tarfile.CHRTYPE, "")],
    ],
)
def test_a_hostile_archive_stays_below_its_directory(members: list[tuple[str, bytes, str]], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(CommandError):
        unpack(Pieces([archive(*members)]), str(target), lambda name: name, owners=False)
    assert sorted(os.listdir(tmp_path)) == ["secret", "target"]
    assert not (target / "dev").exists()


def test_a_file_takes_the_place_of_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "secret").write_text("secret")
    data = archive(("x", tarfile.SYMTYPE, "../secret"), ("x", tarfile.REGTYPE, "new"))
    unpack(Pieces([data]), str(target), lambda name: name, owners=False)
    assert (tmp_path / "secret").read_text() == "secret"
    assert (target / "x").read_text() == "new"


BOTH_WAYS = """
import socket, threading
from rundlet.cli.streams import pump
from rundlet.client.http import Hijacked
ours, theirs = socket.socketpair()
taken = 0
def container():
    global taken
    with theirs:
        theirs.sendall(b"x" * 4_000_000)  # and takes no input before that is read
        while data := theirs.recv(65536):
            taken += len(data)
thread = threading.Thread(target=container)
thread.start()
pump(Hijacked(ours, b"", framed=False), framed=False, stdin=True)
thread.join()
ours.close()
print(taken)
"""


def test_a_container_that_says_much_before_it_takes_its_input(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(3_000_000))
    source = str(Path(__file__).resolve().parents[3] / "src")
    with (tmp_path / "input").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", BOTH_WAYS],
            stdin=file,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": source},
            check=True,
            timeout=120,
        )
    assert done.stdout == b"x" * 4_000_000 + b"3000000\n"


FLOODED = """
import socket
from rundlet.cli.streams import pump

near, far = socket.socketpair()
far.send(b"x")  # never taken: there is always something to read

class Stream:
    sent = b""
    fileno = near.fileno
    def pending(self):
        return False
    def recv(self):
        return b"" if len(self.sent) == 3000 else b"x"
    def send_some(self, data):
        some = data[:1000]
        self.sent += bytes(some)
        return len(some)
    def close_write(self):
        pass

pump(Stream(), framed=False, stdin=True)
"""


def test_a_container_that_never_stops_talking_gets_its_input(tmp_path: Path) -> None:
    """There is always something to read, and what it waits for is sent all the same."""
    (tmp_path / "input").write_bytes(bytes(3000))
    source = str(Path(__file__).resolve().parents[3] / "src")
    with (tmp_path / "input").open("rb") as file:
        subprocess.run(
            [sys.executable, "-c", FLOODED],
            stdin=file,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": source},
            check=True,
            timeout=120,
        )
