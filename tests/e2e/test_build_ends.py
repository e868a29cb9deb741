"""Builds that are hostile, cut off, or not alone."""

import base64
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.engines import Engine, rundlet_command, wait_for

from rundlet.api.buildkit import StatusResponse
from rundlet.api.protobuf import decode


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Iterator[Context]:
    yield Context(engine, tmp_path / "context")
    engine.cli("rmi", "-f", "t")
    engine.ok("image", "prune", "-f")
    engine.ok("builder", "prune", "-af")


def left_of_builds(engine: Engine) -> list[str]:
    found = os.listdir(f"{engine.layout.root}/builds")
    run = Path(engine.layout.run, "builds")
    return found + (os.listdir(run) if run.exists() else [])


def archive(entries: Sequence[tuple[str, bytes | None, str]]) -> bytes:
    """(name, content or None for a link, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content, target in entries:
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
            else:
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def post_build(engine: Engine, body: bytes, query: str = "t=t") -> list[dict[str, object]]:
    """The messages of a build whose context is ``body`` as it is."""
    command = ["curl", "-s", "--unix-socket", engine.socket, "-X", "POST", "-H", "Content-Type: application/x-tar"]
    done = engine.run_command([*command, "--data-binary", "@-", f"http://d/build?{query}"], stdin=body)
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def error_of(messages: list[dict[str, object]]) -> str:
    return str(messages[-1].get("error") or messages[-1].get("message") or "")


def test_builds_by_buildkits_rules_need_no_session(context: Context) -> None:
    """As go-dockerclient asks for them; what only BuildKit does is done."""
    engine = context.engine
    files = [("d/f", b"x", ""), ("Dockerfile", b"FROM busybox\nUSER 7\nWORKDIR /w\nCOPY --parents d/f none* /x/\n", "")]
    messages = post_build(engine, archive(files), "t=t&version=2")
    said = [decode(StatusResponse, base64.b64decode(str(one["aux"]))) for one in messages[:-1]]
    names = {vertex.name for status in said for vertex in status.vertexes}
    assert {"[1/3] FROM docker.io/library/busybox:latest", "[3/3] COPY --parents d/f none* /x/"} <= names
    image = engine.ok("image", "inspect", "-f", "{{.Id}}", "t")
    assert messages[-1] == {"id": "moby.image.id", "aux": {"ID": image}}
    assert context.run("stat", "-c", "%n %u", "/w", "/x/d/f").splitlines() == ["/w 7", "/x/d/f 0"]
    files = [("Dockerfile", b"FROM busybox\nRUN exit 3\n", "")]
    assert "did not complete successfully: exit code: 3" in error_of(post_build(engine, archive(files), "version=2"))
    assert error_of(post_build(engine, archive([]), "version=2"))


def test_events_tell_of_steps_as_dockers_builders_do(context: Context) -> None:
    """The classic builder's steps are containers that everybody hears of, BuildKit's are not."""
    engine = context.engine
    files = [("Dockerfile", b"FROM busybox\nRUN echo told\n", "")]
    said: list[list[str]] = []
    for query in ("version=1&nocache=1&t=t", "version=2&nocache=1&t=t"):
        begin = time.time()
        assert not error_of(post_build(engine, archive(files), query))
        # Removed behind the build's back; then everything has been said.
        wait_for(lambda: engine.ok("ps", "-aq") == "", hint="the step's container is gone")
        words = ["--since", f"{begin:.9f}", "--until", f"{time.time():.9f}", "--format", "{{.Type}} {{.Action}}"]
        said.append(engine.ok("events", *words).splitlines())
    containers = [line for line in said[0] if line.split()[0] in ("container", "network")]
    assert containers == [
        "container create",
        "container attach",
        "network connect",
        "container start",
        "container die",
        "network disconnect",
        "container destroy",
    ]
    assert [line for line in said[0] if line not in containers] == said[1] == ["image create", "image tag"]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that no build may reach."""
    path = tmp_path / "outside"
    path.write_text("not for builds")
    os.chmod(tmp_path, 0o755)
    return path


def test_links_in_a_context_lead_nowhere_else(context: Context, outside: Path) -> None:
    target = str(outside)
    up = "../" * 12 + target.lstrip("/")
    for name, content, link, text in (
        ("absolute", None, target, "FROM busybox\nCOPY absolute /x\n"),
        ("relative", None, up, "FROM busybox\nCOPY relative /x\n"),
        ("dir", None, str(outside.parent), "FROM busybox\nCOPY dir/outside /x\n"),
        ("plain", b"", "", f"FROM busybox\nCOPY {up} /x\n"),
        ("bind", None, target, "FROM busybox\nRUN --mount=type=bind,source=bind,target=/m cat /m > /x\n"),
    ):
        body = archive([("Dockerfile", text.encode(), ""), (name, content, link)])
        error = error_of(post_build(context.engine, body))
        assert "not found" in error or "does not exist" in error, (name, error)
    # As what is to be built the same.
    body = archive([("Dockerfile", None, target)])
    assert "Cannot locate specified Dockerfile" in error_of(post_build(context.engine, body))


def test_names_in_an_archive_stay_in_the_context(context: Context, outside: Path) -> None:
    body = archive(
        [
            ("Dockerfile", b"FROM busybox\nCOPY . /all/\n", ""),
            ("../" * 12 + str(outside).lstrip("/"), b"overwritten", ""),
            ("link", None, str(outside.parent)),
            ("link/outside", b"overwritten", ""),
            (str(outside), b"overwritten", ""),
        ]
    )
    post_build(context.engine, body)
    assert outside.read_text() == "not for builds"
    assert left_of_builds(context.engine) == []


def test_links_in_a_destination_stay_in_the_image(context: Context, outside: Path) -> None:
    context.write("outside", "from the build")
    context.dockerfile(
        f"FROM busybox\nRUN ln -s {outside.parent} /out && mkdir -p /deep && ln -s /{'../' * 9} /deep/up\n"
        f"COPY outside /out/\nCOPY outside /deep/up/etc/made\nWORKDIR /out/w\nADD outside /out/added\n"
    )
    context.ok("-t", "t")
    assert outside.read_text() == "not for builds"
    assert not (outside.parent / "w").exists()
    assert not (outside.parent / "added").exists()
    assert context.run("cat", f"{outside.parent}/outside", "/etc/made").split("from")[1:] == [
        " the build",
        " the build",
    ]


def test_archives_that_are_added_stay_in_the_image(context: Context, outside: Path) -> None:
    target = str(outside)
    context.write(
        "evil.tar",
        archive([("l", None, str(outside.parent)), ("l/outside", b"bad", ""), ("../" * 12 + target[1:], b"bad", "")]),
    )
    context.dockerfile("FROM busybox\nADD evil.tar /x/\n")
    context.build("-t", "t")
    assert outside.read_text() == "not for builds"


@pytest.mark.parametrize("body", [b"", b"not a tar", b"\x1f\x8b\x08garbage", bytes(1024)])
def test_bad_contexts(engine: Engine, body: bytes) -> None:
    assert error_of(post_build(engine, body))
    assert left_of_builds(engine) == []


def sleeping(context: Context, until: bytes = b"begun") -> subprocess.Popen[bytes]:
    """A build whose step runs until it is ended; it has said ``until``."""
    context.dockerfile("FROM busybox\nRUN --mount=type=cache,target=/c echo be''gun; sleep 1000\n")
    process = subprocess.Popen(
        [*rundlet_command(), "build", "--progress=plain", str(context.path)],
        env=context.engine.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if until in line:
                break
    return process


def settled(engine: Engine) -> bool:
    return engine.ok("ps", "-aq") == "" and left_of_builds(engine) == []


@pytest.mark.parametrize("until", [b"begun", b"sleep 1000"], ids=["running", "starting"])
def test_ctrl_c_ends_a_build_at_once(context: Context, until: bytes) -> None:
    process = sleeping(context, until)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    wait_for(lambda: settled(context.engine), 20, hint="the step's container and the build's directory are gone")


def test_a_client_that_is_killed_ends_its_build(context: Context) -> None:
    process = sleeping(context)
    process.kill()
    process.wait()
    wait_for(lambda: settled(context.engine), 20, hint="the step's container and the build's directory are gone")


def test_an_engine_that_is_killed_leaves_nothing_of_a_build(context: Context) -> None:
    engine = context.engine
    process = sleeping(context)
    killed = engine.kill()
    process.wait(60)
    engine.wait_for_successor(killed, 30)
    wait_for(lambda: settled(engine), 30, hint="the new engine has removed the step's container")
    # And builds go on.
    context.dockerfile("FROM busybox\nRUN echo again > /a\n").ok("-t", "t")
    assert context.run("cat", "/a") == "again"


def test_an_engine_that_is_stopped_ends_its_builds(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine = new_engine()
    process = sleeping(Context(engine, tmp_path / "context"))
    engine.terminate()
    assert process.wait(60) != 0
    assert left_of_builds(engine) == []
    assert os.listdir(engine.layout.containers) == []


def test_two_builds_of_the_same_share_their_work(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN sleep 1; head -c 16 /dev/urandom | md5sum > /r\nRUN cp /r /s\n")
    results: list[str] = []

    def build(tag: str) -> None:
        context.ok("-t", tag)
        results.append(context.run("cat", "/s", image=tag))

    threads = [threading.Thread(target=build, args=(f"t:{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert len(set(results)) == 1
    context.engine.ok("rmi", "t:0", "t:1", "t:2")


def test_a_failed_build_leaves_nothing_mounted(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN --mount=type=tmpfs,target=/t exit 1\n")
    assert context.build().returncode == 1
    wait_for(lambda: settled(context.engine), 20)
    mounts = Path("/proc/self/mounts").read_text()
    assert f"{context.engine.directory}/root/builds" not in mounts
