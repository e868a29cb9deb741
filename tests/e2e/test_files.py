"""cp, diff, export, commit and the first use of volumes, through every command line."""

import io
import json
import os
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from tests.conftest import need
from tests.e2e.conftest import Client
from tests.engines import Engine

SLEEP = ("busybox", "sleep", "1000")


def names(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


def tar_out(client: Client, container: str, path: str) -> dict[str, tarfile.TarInfo]:
    """``cp CONTAINER:PATH -``: standard output is binary."""
    command = client.command("cp", f"{container}:{path}", "-")
    return names(subprocess.run(command, env=client.engine.environment(), capture_output=True, check=True).stdout)


def refused(client: Client, *arguments: str, stdin: bytes | None = None) -> str:
    done = client(*arguments, stdin=stdin)
    assert done.returncode == 1, done.stdout
    return done.stderr


@pytest.fixture(params=["running", "stopped", "created"])
def container(client: Client, request: pytest.FixtureRequest) -> str:
    """A container in each state, with a file, a directory and links made by an image's layer or by its own hand."""
    engine = client.engine
    if request.param == "created":
        engine.ok("run", "--name", "base", "busybox", "sh", "-c", PREPARE)
        engine.ok("commit", "base", "prepared")
        engine.ok("rm", "base")
        engine.ok("create", "--name", "box", "prepared", "sleep", "1000")
    else:
        engine.ok("run", "-d", "--name", "box", *SLEEP)
        engine.ok("exec", "box", "sh", "-c", PREPARE)
        if request.param == "stopped":
            engine.ok("stop", "-t", "0", "box")
    return "box"


PREPARE = """
mkdir -p /d/inner && echo file > /d/f && echo deep > /d/inner/g && chmod 640 /d/f && chown 5:6 /d/f && ln /d/f /d/hard
ln -s f /d/link && ln -s /d /to-d && ln -s ../../../../etc/hostname /out && ln -s /nowhere /broken && mkfifo /d/fifo
"""


def text_of(client: Client, path: str) -> str:
    """A file of the container, whatever state it is in."""
    command = client.command("cp", f"box:{path}", "-")
    data = subprocess.run(command, env=client.engine.environment(), capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = tar.extractfile(tar.getmembers()[0])
        assert member is not None
        return member.read().decode()


# ── out of a container ───────────────────────────────────────────────────────────────────────────────────────


def test_out(client: Client, container: str, scratch: Path) -> None:
    client.ok("cp", f"{container}:/d", str(scratch / "new"))
    assert (scratch / "new/inner/g").read_text() == "deep\n"
    assert os.readlink(scratch / "new/link") == "f"
    assert (scratch / "new/f").stat().st_mode & 0o777 == 0o640
    client.ok("cp", f"{container}:/d", str(scratch))
    assert (scratch / "d/f").read_text() == "file\n"
    (scratch / "content").mkdir()
    client.ok("cp", f"{container}:/d/.", str(scratch / "content"))
    assert sorted(os.listdir(scratch / "content")) == ["f", "fifo", "hard", "inner", "link"]
    client.ok("cp", f"{container}:/d/f", str(scratch / "renamed"))
    assert (scratch / "renamed").read_text() == "file\n"


def test_as_a_stream(client: Client, container: str) -> None:
    found = tar_out(client, container, "/d")
    assert set(found) == {"d", "d/f", "d/hard", "d/inner", "d/inner/g", "d/link", "d/fifo"}
    assert (found["d/f"].uid, found["d/f"].gid, found["d/f"].mode) == (5, 6, 0o640)
    assert found["d/hard"].islnk() and found["d/hard"].linkname == "d/f"
    assert found["d/fifo"].isfifo()
    assert set(tar_out(client, container, "/d/.")) >= {".", "./f"}
    assert tar_out(client, container, "/to-d")["to-d"].issym()
    assert set(tar_out(client, container, "/to-d/")) >= {"to-d", "to-d/f"}


def test_links_stay_inside(client: Client, container: str, scratch: Path) -> None:
    client.ok("cp", "-L", f"{container}:/d/link", str(scratch / "f"))
    assert (scratch / "f").read_text() == "file\n"
    outside = Path("/etc/hostname").read_text()
    done = client("cp", "-L", f"{container}:/out", str(scratch / "h"))
    assert done.returncode == 1 or (scratch / "h").read_text() != outside
    done = client("cp", f"{container}:/out", str(scratch / "as-it-is"))
    # The official command line does not even make such a link.
    assert (scratch / "as-it-is").is_symlink() or (client.official and "invalid symlink" in done.stderr)


def test_a_link_that_is_followed_gives_its_own_name(client: Client, container: str, scratch: Path) -> None:
    client.ok("cp", "-L", f"{container}:/d/link", str(scratch))
    assert (scratch / "link").read_text() == "file\n" and not (scratch / "link").is_symlink()
    (scratch / "own").symlink_to("link")
    client.ok("cp", "-L", str(scratch / "own"), f"{container}:/tmp/")
    assert tar_out(client, container, "/tmp/own")["own"].isreg()


def test_a_link_at_the_destination_stays(client: Client, container: str, scratch: Path) -> None:
    (scratch / "there").write_text("old\n")
    (scratch / "directory").mkdir()
    for name, leads in (("to-file", "there"), ("to-new", "new"), ("to-directory", "directory"), ("to-tree", "tree")):
        (scratch / name).symlink_to(leads)
    for name in ("to-file", "to-new", "to-directory"):
        client.ok("cp", f"{container}:/d/f", str(scratch / name))
        assert (scratch / name).is_symlink()
    for path in ("there", "new", "directory/f"):
        assert (scratch / path).read_text() == "file\n"
    client.ok("cp", f"{container}:/d/inner", str(scratch / "to-tree"))
    assert (scratch / "to-tree").is_symlink() and (scratch / "tree/g").is_file()


def test_what_is_not_there(client: Client, container: str, scratch: Path) -> None:
    said = refused(client, "cp", f"{container}:/no/such", str(scratch))
    older = f"No such container:path: {container}:/no/such"
    assert f"Could not find the file /no/such in container {container}" in said or (client.older and older in said)
    assert "No such container" in refused(client, "cp", "nobody:/etc", str(scratch))
    refused(client, "cp", f"{container}:/d/f/", str(scratch))
    refused(client, "cp", "-L", f"{container}:/broken", str(scratch))


# ── into a container ─────────────────────────────────────────────────────────────────────────────────────────


def test_paths_that_can_be_none(engine: Engine) -> None:
    """A client's mistake, and no fault of the engine's."""
    engine.ok("create", "--name", "box", "busybox", "true")
    api = docker.DockerClient(base_url=engine.host)
    try:
        for path, word in (("/etc/passwd/x", "not a directory"), (f"/{'x' * 300}", "name too long")):
            with pytest.raises(docker.errors.APIError, match=f"(?i){word}") as caught:
                api.containers.get("box").get_archive(path)
            assert caught.value.status_code == 400
    finally:
        api.close()


def test_in(client: Client, container: str, scratch: Path) -> None:
    source = scratch / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("a\n")
    os.chown(source / "a", 12, 13)
    (source / "a").chmod(0o4711)
    os.symlink("../../../etc/passwd", source / "sub/link")
    client.ok("cp", str(source), f"{container}:/new")
    assert set(tar_out(client, container, "/new")) == {"new", "new/a", "new/sub", "new/sub/link"}
    client.ok("cp", str(source), f"{container}:/d")
    found = tar_out(client, container, "/d/source")
    assert (found["source/a"].mode, found["source/a"].uid, found["source/a"].gid) == (0o4711, 12, 13)
    assert found["source/sub/link"].linkname == "../../../etc/passwd"
    client.ok("cp", str(source / "a"), f"{container}:/d/f")
    assert text_of(client, "/d/f") == "a\n"
    client.ok("cp", f"{source}/.", f"{container}:/to-d")
    assert text_of(client, "/d/a") == "a\n"


def test_a_stream_in(client: Client, container: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("deep/er/x")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"in\n"))
    client.ok("cp", "-", f"{container}:/d", stdin=buffer.getvalue())
    assert text_of(client, "/d/deep/er/x") == "in\n"


def test_refused_targets(client: Client, container: str, scratch: Path) -> None:
    (scratch / "f").write_text("x")
    (scratch / "dir").mkdir()
    refused(client, "cp", str(scratch / "f"), f"{container}:/no/such/directory/")
    refused(client, "cp", str(scratch / "dir"), f"{container}:/d/f")
    refused(client, "cp", "-", f"{container}:/d/f", stdin=b"")
    refused(client, "cp", "-", f"{container}:/d", stdin=b"no tar" * 300)


def test_kinds_are_kept(client: Client, container: str, scratch: Path) -> None:
    """What ``cp`` asks for: a directory and a file never take each other's place."""
    (scratch / "inner").write_text("a file")
    said = refused(client, "cp", str(scratch / "inner"), f"{container}:/d")
    assert 'cannot overwrite directory "/d/inner" with non-directory "/d"' in said
    assert text_of(client, "/d/inner/g") == "deep\n"


def test_read_only(client: Client, scratch: Path) -> None:
    (scratch / "f").write_text("x")
    (scratch / "ro").mkdir()
    (scratch / "rw").mkdir()
    binds = ("-v", f"{scratch}/ro:/ro:ro", "-v", f"{scratch}/rw:/rw", "--tmpfs", "/t")
    client.engine.ok("run", "-d", "--name", "box", "--read-only", *binds, *SLEEP)
    assert "container rootfs is marked read-only" in refused(client, "cp", str(scratch / "f"), "box:/etc")
    assert "mounted volume is marked read-only" in refused(client, "cp", str(scratch / "f"), "box:/ro")
    client.ok("cp", str(scratch / "f"), "box:/rw")
    assert (scratch / "rw/f").read_text() == "x"
    client.ok("cp", str(scratch / "f"), "box:/t")
    assert client.ok("exec", "box", "cat", "/t/f") == "x"
    client.engine.ok("stop", "-t", "0", "box")
    assert "container rootfs is marked read-only" in refused(client, "cp", str(scratch / "f"), "box:/etc")
    client.ok("cp", str(scratch / "f"), "box:/rw/again")
    assert (scratch / "rw/again").read_text() == "x"


def test_owner_of_the_container(client: Client, scratch: Path) -> None:
    (scratch / "f").write_text("x")
    client.engine.ok("run", "-d", "--name", "box", "-u", "7:8", *SLEEP)
    client.ok("cp", "-a", str(scratch / "f"), "box:/tmp/a")
    assert client.ok("exec", "box", "stat", "-c", "%u:%g", "/tmp/a") == "7:8"


def test_volumes_of_a_stopped_container(client: Client, scratch: Path) -> None:
    (scratch / "f").write_text("v")
    client.engine.ok("create", "--name", "box", "-v", "files-volume:/vol/here", *SLEEP)
    try:
        client.ok("cp", str(scratch / "f"), "box:/vol/here")
        assert text_of(client, "/vol/here/f") == "v"
        volume = Path(client.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "files-volume"))
        assert (volume / "f").read_text() == "v"
    finally:
        client.engine.ok("rm", "-f", "box")
        client.engine.ok("volume", "rm", "files-volume")


def test_the_working_directory_of_a_created_container(client: Client, scratch: Path) -> None:
    """It is there before the first start, to read and to write."""
    (scratch / "f").write_text("w")
    client.engine.ok("create", "--name", "box", "-w", "/made/deep", "busybox", "cat", "f")
    assert list(tar_out(client, "box", "/made/deep")) == ["deep"]
    client.ok("cp", str(scratch / "f"), "box:/made/deep")
    assert client.ok("start", "-a", "box") == "w"


def test_a_copy_while_links_are_swapped(engine: Engine, scratch: Path) -> None:
    """CVE-2018-15664: a container that turns a directory into a link, back and forth, while it is copied into."""
    outside = scratch / "victim"
    outside.mkdir()
    swap = (
        f"mkdir -p /w/d; ln -s {outside} /w/l; while :; do mv /w/d /w/x; mv /w/l /w/d; mv /w/d /w/l; mv /w/x /w/d; done"
    )
    engine.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", swap)
    (scratch / "f").write_text("x")
    for _ in range(30):
        engine.cli("cp", str(scratch / "f"), "box:/w/d/f")
        engine.cli("cp", "box:/w/d", "-")
    assert os.listdir(outside) == []


def test_start_waits_for_a_copy(engine: Engine) -> None:
    """The two would be overlays over one upper directory."""
    engine.ok("create", "--name", "box", *SLEEP)
    copy = engine.popen("cp", "-", "box:/", stdin=subprocess.PIPE)
    assert copy.stdin is not None
    info = tarfile.TarInfo("slow")
    info.size = 1 << 20
    copy.stdin.write(info.tobuf() + bytes(1 << 19))
    copy.stdin.flush()
    time.sleep(0.3)
    starting = threading.Thread(target=engine.ok, args=("start", "box"))
    starting.start()
    time.sleep(0.3)
    assert engine.field("box", "{{.State.Status}}") == "created"
    copy.stdin.write(bytes(1 << 19) + bytes(1024))
    copy.stdin.close()
    assert copy.wait(60) == 0
    starting.join(60)
    for pipe in (copy.stdout, copy.stderr):
        assert pipe is not None
        pipe.close()
    assert engine.ok("exec", "box", "stat", "-c", "%s", "/slow") == str(1 << 20)


# ── diff, export ─────────────────────────────────────────────────────────────────────────────────────────────


def test_diff(client: Client) -> None:
    client.engine.ok("run", "-d", "--name", "box", "-v", "/mounted/deep", "--tmpfs", "/t", *SLEEP)
    assert client.ok("diff", "box") == ""
    client.ok(
        "exec", "box", "sh", "-c", "echo x > /etc/new; rm /etc/passwd; mkdir -p /a/b; echo x >> /etc/group; echo > /t/x"
    )
    expected = "C /etc\nC /etc/group\nA /etc/new\nD /etc/passwd\nA /a\nA /a/b"
    assert sorted(client.ok("diff", "box").splitlines()) == sorted(expected.splitlines())
    client.engine.ok("stop", "-t", "0", "box")
    assert sorted(client.ok("diff", "box").splitlines()) == sorted(expected.splitlines())


def test_diff_of_a_replaced_directory(client: Client) -> None:
    client.engine.ok("run", "--name", "box", "busybox", "sh", "-c", "rm -r /etc; mkdir /etc; echo x > /etc/only")
    found = client.ok("diff", "box").splitlines()
    assert "C /etc" in found or "A /etc" not in found
    assert "A /etc/only" in found
    assert "D /etc/passwd" in found


def test_export(client: Client, container: str, scratch: Path) -> None:
    client.ok("export", "-o", str(scratch / "all.tar"), container)
    found = names((scratch / "all.tar").read_bytes())
    assert found["d/hard"].islnk()
    assert found["d/f"].uid == 5
    assert not any(name.startswith(("proc/", "sys/")) for name in found)
    assert "bin/busybox" in found
    client.ok("import", str(scratch / "all.tar"), "exported")
    assert client.ok("run", "--rm", "exported", "cat", "/d/f") == "file"


def test_the_whole_root_of_what_runs(client: Client) -> None:
    """Its processes' files, which can't all be read, are left out."""
    client.engine.ok("run", "-d", "--name", "box", "-v", "/vol", "--tmpfs", "/run", *SLEEP)
    client.ok("exec", "box", "touch", "/vol/kept", "/run/kept")
    command = client.command("cp", "box:/", "-")
    found = names(subprocess.run(command, env=client.engine.environment(), capture_output=True, check=True).stdout)
    assert {"bin/busybox", "vol/kept", "run/kept", "proc", "sys"} <= {name.strip("/") for name in found}
    assert not any(name.strip("/").startswith(("proc/", "sys/")) for name in found)
    assert client("cp", "box:/proc/1/cmdline", "-").returncode == 1


def test_export_without_volumes(client: Client) -> None:
    client.engine.ok("run", "-d", "--name", "box", "-v", "/vol", *SLEEP)
    client.ok("exec", "box", "touch", "/vol/secret", "/own")
    command = client.command("export", "box")
    done = subprocess.run(command, env=client.engine.environment(), capture_output=True, check=True)
    assert "own" in names(done.stdout)
    assert "vol/secret" not in names(done.stdout)


# ── commit ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_commit(client: Client) -> None:
    engine = client.engine
    engine.ok("run", "-d", "--name", "box", "-e", "FROM_RUN=1", *SLEEP)
    engine.ok("exec", "box", "sh", "-c", "echo new > /new; rm /etc/group; mkdir /opaque; mkdir -p /etc/sub")
    changes = ("-c", 'CMD ["cat", "/new"]', "-c", "ENV ADDED=2", "-c", "LABEL l=v", "-c", "EXPOSE 80/tcp")
    identity = client.ok("commit", "-a", "An Author", "-m", "a message", *changes, "box", "made/here:2")
    assert identity.startswith("sha256:")
    image = json.loads(client.ok("image", "inspect", "made/here:2"))[0]
    assert image["Id"] == identity
    assert (image["Author"], image["Comment"]) == ("An Author", "a message")
    assert image["Config"]["Cmd"] == ["cat", "/new"]
    assert {"FROM_RUN=1", "ADDED=2"} <= set(image["Config"]["Env"])
    assert image["Config"]["Labels"] == {"l": "v"}
    assert "80/tcp" in image["Config"]["ExposedPorts"]
    assert len(image["RootFS"]["Layers"]) == 2
    assert client.ok("run", "--rm", "made/here:2") == "new"
    assert client.ok("run", "--rm", "made/here:2", "sh", "-c", "ls /etc/group 2>&1; hostname") != ""
    history = client.ok("history", "--format", "{{.CreatedBy}}|{{.Comment}}", "made/here:2").splitlines()
    assert history[0] == "sleep 1000|a message"
    assert engine.field("box", "{{.State.Status}}") == "running"


def test_parents(client: Client) -> None:
    engine = client.engine
    engine.ok("run", "--name", "box", "busybox", "touch", "/one")
    engine.ok("commit", "box", "parent")
    engine.ok("rm", "box")
    engine.ok("run", "--name", "box", "parent", "touch", "/two")
    child = client.ok("commit", "box")
    engine.ok("rm", "box")
    parent = client.ok("image", "inspect", "-f", "{{.Id}}", "parent")
    assert client.ok("image", "inspect", "-f", "{{.Parent}}", child) == parent
    assert "image has dependent child images" in refused(client, "rmi", parent)
    client.ok("rmi", child)


def test_a_commit_of_nothing(client: Client) -> None:
    client.engine.ok("create", "--name", "box", "busybox", "true")
    identity = client.ok("commit", "-c", "ENV A=1", "box")
    layers = client.ok("image", "inspect", "-f", "{{len .RootFS.Layers}}", identity)
    assert layers == "1"
    client.engine.ok("rm", "box")
    client.ok("rmi", identity)


def test_refused_commits(client: Client) -> None:
    client.engine.ok("create", "--name", "box", "busybox", "true")
    assert "FROM is not a valid change command" in refused(client, "commit", "-c", "FROM x", "box")
    assert "must be lowercase" in refused(client, "commit", "box", "Upper:case")
    assert "No such container: nobody" in refused(client, "commit", "nobody")


def test_pause(engine: Engine) -> None:
    engine.ok("run", "-d", "--name", "box", *SLEEP)
    before = int(time.time())
    engine.ok("commit", "box")
    engine.ok("commit", "--pause=false", "box")
    actions = engine.ok(
        "events",
        "--since",
        str(before),
        "--until",
        str(int(time.time()) + 1),
        "-f",
        "type=container",
        "--format",
        "{{.Action}}",
    ).split()
    assert [action for action in actions if not action.startswith("exec")][-4:] == [
        "pause",
        "unpause",
        "commit",
        "commit",
    ]


# ── volumes ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def runtimes(busybox_tar: Path) -> Iterator[Engine]:
    engine = Engine(["--add-runtime", f"runc={need('runc')}"]).start()
    try:
        engine.ok("import", str(busybox_tar), "busybox")
        engine.ok("run", "--name", "base", "busybox", "sh", "-c", f"{PREPARE} chmod 2750 /d; chown 5:6 /d")
        engine.ok("commit", "base", "filled")
        yield engine
    finally:
        engine.stop()


@pytest.mark.parametrize("runtime", ["rundlet", "runc"])
def test_first_use(runtimes: Engine, runtime: str) -> None:
    volume = ("-v", f"first-{runtime}:/d")
    show = "stat -c '%a %u %g %n' /d /d/f; stat -c %h /d/hard; readlink /d/link; cat /d/inner/g"
    said = runtimes.ok("run", "--rm", "--runtime", runtime, *volume, "filled", "sh", "-c", show)
    assert said.splitlines() == ["2750 5 6 /d", "640 5 6 /d/f", "2", "f", "deep"]
    runtimes.ok("run", "--rm", "--runtime", runtime, *volume, "filled", "sh", "-c", "rm -r /d/inner; echo own > /d/f")
    assert runtimes.ok("run", "--rm", *volume, "filled", "cat", "/d/f") == "own"


def test_no_copy(runtimes: Engine) -> None:
    assert runtimes.ok("run", "--rm", "-v", "left-empty:/d:nocopy", "filled", "ls", "/d") == ""


def test_an_emptied_volume_stays_empty(runtimes: Engine) -> None:
    runtimes.ok("run", "--name", "again", "-v", "/d", "filled", "sh", "-c", "rm -r /d/*; ls /d")
    assert runtimes.ok("start", "-a", "again") == ""


# ── other clients ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_docker_py(engine: Engine) -> None:
    api = docker.DockerClient(base_url=engine.host, timeout=30)
    try:
        container = api.containers.run("busybox", "sleep 1000", detach=True)
        container.exec_run(["sh", "-c", PREPARE])
        chunks, stat = container.get_archive("/d/f")
        assert (stat["name"], stat["size"], stat["linkTarget"]) == ("f", 5, "")
        assert stat["mode"] & 0o777 == 0o640
        assert set(names(b"".join(chunks))) == {"f"}
        _, stat = container.get_archive("/to-d")
        assert stat["mode"] >> 27 & 1
        assert stat["linkTarget"] == "/d"
        assert container.put_archive("/d", b"".join(container.get_archive("/d/inner")[0]))
        assert {"Path": "/d", "Kind": 1} in container.diff()
        assert "d/f" in names(b"".join(container.export()))
        image = container.commit("from-py", "1", message="m", author="a", conf={"Cmd": ["cat", "/d/inner/g"]})
        assert api.containers.run(image, remove=True) == b"deep\n"
    finally:
        api.close()


@pytest.mark.parametrize("flags", [("--runtime", "runc"), ("--privileged",), ("--pid", "host", "--cgroupns", "host")])
def test_copies_with_other_rights(runtimes: Engine, scratch: Path, flags: tuple[str, ...]) -> None:
    runtimes.ok("run", "-d", "--name", "box", "--tmpfs", "/t", *flags, "filled", "sleep", "1000")
    try:
        (scratch / "f").write_text("in")
        runtimes.ok("cp", str(scratch / "f"), "box:/t/f")
        assert runtimes.ok("exec", "box", "cat", "/t/f") == "in"
        runtimes.ok("pause", "box")
        runtimes.ok("cp", "box:/t/f", str(scratch / "out"))
        assert (scratch / "out").read_text() == "in"
        runtimes.ok("export", "-o", str(scratch / "all.tar"), "box")
        assert "t/f" not in names((scratch / "all.tar").read_bytes())
        runtimes.ok("unpause", "box")
    finally:
        runtimes.ok("rm", "-f", "box")
