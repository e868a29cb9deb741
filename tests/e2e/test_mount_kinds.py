"""``--mount`` with all that it can say: images, paths in volumes, recursive binds, propagation; and what is refused."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine

pytestmark = [pytest.mark.root]


@pytest.fixture
def nested(engine: Engine) -> Iterator[Path]:
    """A directory of the host, shared, with another file system mounted in it."""
    place = Path(engine.directory) / "nested"
    place.mkdir()
    place.chmod(0o755)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], check=True)
    subprocess.run(["mount", "--make-shared", str(place)], check=True)
    (place / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place / "inner")], check=True)
    (place / "inner" / "file").write_text("inside\n")
    yield place
    engine.remove_containers()
    subprocess.run(["umount", "-R", str(place)], check=True)
    place.rmdir()


def run(engine: Engine, mount: str, script: str) -> str:
    return engine.ok("run", "--rm", "--mount", mount, "busybox", "sh", "-c", f"({script}) 2>&1")


def test_image(engine: Engine) -> None:
    engine.ok("run", "--name", "box", "busybox", "sh", "-c", "mkdir -p /kept/deep; echo more > /kept/deep/file")
    engine.ok("commit", "box", "kept")
    mount = "type=image,source=kept,target=/other"
    assert run(engine, mount, "cat /other/kept/deep/file; ls -d /other/bin") == "more\n/other/bin"
    assert "Read-only file system" in run(engine, mount, "touch /other/x || true")
    # One layer, and a path in several.
    assert run(engine, "type=image,source=busybox,target=/o", "ls -d /o/*").splitlines()[0] == "/o/bin"
    assert run(engine, f"{mount},image-subpath=kept/deep", "ls /other") == "file"
    assert run(engine, f"{mount},image-subpath=kept/deep/file", "cat /other") == "more"
    done = engine.cli("run", "--rm", "--mount", f"{mount},image-subpath=no", "busybox", "true")
    assert "no such file or directory" in done.stderr


def test_files_of_a_mounted_image_are_copied_also_before_the_start_and_after_the_end(
    engine: Engine, tmp_path: Path
) -> None:
    engine.ok("run", "--name", "changed", "busybox", "sh", "-c", "mkdir -p /kept/deep; echo more > /kept/deep/file")
    engine.ok("commit", "changed", "kept")
    whole, part = "type=image,src=kept,dst=/whole", "type=image,src=kept,dst=/part,image-subpath=kept/deep"
    one = "type=image,src=busybox,dst=/one,image-subpath=bin"
    engine.ok("create", "--name", "box", "--mount", whole, "--mount", part, "--mount", one, "busybox", "true")
    for _ in range(2):
        for inside in ("/whole/kept/deep/file", "/part/file"):
            engine.ok("cp", f"box:{inside}", str(tmp_path / "copy"))
            assert (tmp_path / "copy").read_text() == "more\n"
        engine.ok("cp", "box:/one/busybox", str(tmp_path / "program"))
        assert (tmp_path / "program").stat().st_size > 100_000
        refused = engine.cli("cp", str(tmp_path / "copy"), "box:/whole/new")
        assert "mounted volume is marked read-only" in refused.stderr
        engine.ok("start", "-a", "box")
    engine.ok("rm", "box", "changed")
    engine.ok("rmi", "kept")


def test_mounted_image_is_in_use(engine: Engine) -> None:
    engine.ok("tag", "busybox", "second")
    engine.ok("run", "--name", "changed", "second", "touch", "/x")
    engine.ok("commit", "changed", "kept")
    engine.ok("create", "--name", "box", "--mount", "type=image,src=kept,dst=/o", "busybox", "true")
    points = json.loads(engine.ok("inspect", "box"))[0]["Mounts"]
    assert [(point["Type"], point["Source"], point["RW"]) for point in points] == [("image", "kept", False)]
    assert engine.cli("rmi", "kept").returncode == 1
    engine.ok("start", "-a", "box")
    engine.ok("rm", "box", "changed")
    engine.ok("rmi", "kept")
    assert "No such image: kept" in engine.cli("run", "--mount", "type=image,src=kept,dst=/o", "busybox", "true").stderr


def test_a_mounted_image_that_was_removed_by_force_is_there_for_its_container(engine: Engine) -> None:
    engine.ok("tag", "busybox", "second")
    engine.ok("run", "--name", "changed", "second", "sh", "-c", "echo content >/x")
    engine.ok("commit", "changed", "kept")
    engine.ok("create", "--name", "box", "--mount", "type=image,src=kept,dst=/o", "busybox", "cat", "/o/x")
    engine.ok("rm", "changed")
    engine.ok("rmi", "-f", "kept")
    engine.ok("image", "prune", "-f")
    assert engine.ok("start", "-a", "box") == "content"
    engine.ok("rm", "box")


def test_path_in_a_volume(engine: Engine) -> None:
    run(
        engine,
        "type=volume,src=data,dst=/v",
        "mkdir -p /v/a/b; echo deep > /v/a/b/file; ln -s /etc /v/out; ln -s a /v/in",
    )
    mount = "type=volume,src=data,dst=/v,volume-subpath="
    assert run(engine, f"{mount}a/b", "cat /v/file; echo own > /v/own") == "deep"
    assert run(engine, f"{mount}in/b", "cat /v/own") == "own"
    assert run(engine, f"{mount}a/b/file", "cat /v") == "deep"
    # A link in the volume is no way out of it.
    done = engine.cli("run", "--rm", "--mount", f"{mount}out", "busybox", "true")
    assert done.returncode == 125
    assert "path concatenation escapes the base directory" in done.stderr
    done = engine.cli("run", "--rm", "--mount", f"{mount}missing", "busybox", "true")
    assert "cannot access path" in done.stderr
    assert "no such file or directory" in done.stderr
    engine.ok("create", "--name", "box", "--mount", f"{mount}a/b", "busybox", "true")
    assert "deep" in engine.ok("cp", "box:/v/file", "-")
    engine.ok("rm", "box")
    engine.ok("volume", "rm", "data")


def test_recursive_binds(engine: Engine, nested: Path) -> None:
    mount = f"type=bind,src={nested},dst=/n"
    assert run(engine, mount, "cat /n/inner/file; touch /n/inner/1 && ls /n/inner") == "inside\n1\nfile"
    assert run(engine, f"{mount},bind-recursive=disabled", "ls /n/inner") == ""
    refused = "touch: /n/inner/2: Read-only file system"
    assert run(engine, f"{mount},readonly", "touch /n/inner/2 || true") == refused
    assert run(engine, f"{mount},readonly,bind-recursive=writable", "touch /n/x /n/inner/2 || true; ls /n/inner") == (
        "touch: /n/x: Read-only file system\n1\n2\nfile"
    )
    strict = f"{mount},readonly,bind-recursive=readonly,bind-propagation=rprivate"
    assert run(engine, strict, "touch /n/inner/3 || true") == refused.replace("2", "3")
    docker = engine.docker("run", "--rm", "--mount", f"{mount},readonly,bind-recursive=writable", "busybox", "ls", "/n")
    assert docker.stdout == "inner\n"


def test_propagation(engine: Engine, nested: Path, tmp_path: Path) -> None:
    def container(kind: str) -> None:
        mount = f"type=bind,src={nested},dst=/n,bind-propagation={kind}"
        engine.ok("run", "-d", "--name", kind, "--privileged", "--mount", mount, "busybox", "sleep", "600")

    for kind in ("rprivate", "rslave", "rshared"):
        container(kind)
    (nested / "later").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(nested / "later")], check=True)
    (nested / "later" / "seen").touch()
    seen = {kind: engine.ok("exec", kind, "ls", "/n/later") for kind in ("rprivate", "rslave", "rshared")}
    assert seen == {"rprivate": "", "rslave": "seen", "rshared": "seen"}
    for kind in ("rslave", "rshared"):
        engine.ok("exec", kind, "sh", "-c", f"mkdir /n/{kind} && mount -t tmpfs x /n/{kind} && touch /n/{kind}/own")
    assert (nested / "rshared" / "own").exists()
    assert not (nested / "rslave" / "own").exists()
    engine.remove_containers()
    private = tmp_path / "private"
    private.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(private)], check=True)
    subprocess.run(["mount", "--make-private", str(private)], check=True)
    try:
        for kind, words in (("rshared", "a shared"), ("rslave", "a shared or slave")):
            done = engine.cli("run", "--rm", "-v", f"{private}:/x:{kind}", "busybox", "true")
            assert f"path {private} is mounted on {private} but it is not {words} mount" in done.stderr
    finally:
        subprocess.run(["umount", str(private)], check=True)


def test_the_machine_s_devices(engine: Engine) -> None:
    script = "ls -d /dev/null /dev/full; cat /proc/kcore 2>&1 | wc -c; grep ' /dev ' /proc/self/mountinfo"
    lines = engine.ok("run", "--rm", "-v", "/dev:/dev:ro", "busybox", "sh", "-c", script).splitlines()
    assert lines[:2] == ["/dev/full", "/dev/null"]
    assert lines[-1].split()[5].split(",")[0] == "ro"


def test_the_engine_s_own_directory_is_not_kept_mounted(engine: Engine) -> None:
    root = engine.layout.root
    engine.ok("create", "--name", "box", "-v", f"{root}:/x", "--mount", "type=bind,src=/,dst=/y", "busybox", "true")
    assert engine.field("box", "{{range .Mounts}}{{.Propagation}} {{end}}") == "rslave rslave"
    engine.ok("start", "-a", "box")
    for kind in ("rprivate", "shared"):
        done = engine.cli("create", "-v", f"{root}/volumes:/x:{kind}", "busybox", "true")
        assert 'must use either propagation mode "rslave" or "rshared" when mount source is within' in done.stderr
        assert f'propagation: "{kind}"' in done.stderr


def test_a_path_in_a_volume_is_filled_and_stays_inside(engine: Engine) -> None:
    engine.ok("run", "--rm", "-v", "data:/v", "busybox", "sh", "-c", "mkdir /v/bin; ln -s / /v/root; echo 1 > /v/file")
    mount = "type=volume,src=data,dst=/bin,volume-subpath=bin"
    assert engine.ok("run", "--rm", "--mount", mount, "busybox", "ls", "/bin/busybox") == "/bin/busybox"
    out = "type=volume,src=data,dst=/out,volume-subpath=root"
    done = engine.cli("run", "--rm", "--mount", out, "busybox", "true")
    assert "path concatenation escapes the base directory" in done.stderr
    engine.ok("volume", "rm", "data")


def test_a_volume_that_nobody_named_says_so(engine: Engine) -> None:
    engine.ok("create", "--name", "box", "-v", "/x", "busybox", "true")
    volume = engine.field("box", "{{(index .Mounts 0).Name}}")
    assert json.loads(engine.ok("volume", "inspect", volume))[0]["Labels"] == {"com.docker.volume.anonymous": ""}
    engine.ok("rm", "-v", "box")


def test_volume_and_tmpfs_options(engine: Engine) -> None:
    mount = "type=volume,src=inline,dst=/etc,volume-nocopy,volume-label=a=b,volume-driver=local"
    assert run(engine, f"{mount},volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m", "ls /etc") == (
        "hostname\nhosts\nresolv.conf"
    )
    volume = json.loads(engine.ok("volume", "inspect", "inline"))[0]
    assert (volume["Labels"], volume["Options"]["o"]) == ({"a": "b"}, "size=1m")
    engine.ok("volume", "rm", "inline")
    script = "stat -c %a /t; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2"
    assert run(engine, "type=tmpfs,dst=/t,tmpfs-mode=1770,tmpfs-size=2m", script) == "1770\n2048"


def test_volumes_from(engine: Engine) -> None:
    engine.ok("create", "--name", "giver", "-v", "given:/given", "-v", "/anonymous", "busybox", "true")
    script = "touch /given/x /anonymous/x; ls /given /anonymous"
    said = engine.cli("run", "--rm", "--volumes-from", "giver:ro", "busybox", "sh", "-c", script)
    assert said.stderr.count("Read-only file system") == 2
    assert engine.ok("run", "--rm", "--volumes-from", "giver", "busybox", "sh", "-c", script).count("x") == 2
    engine.ok("rm", "-v", "giver")
    assert engine.ok("volume", "ls", "-q") == "given"
    engine.ok("volume", "rm", "given")


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ("type=bind,src=/nowhere/at/all,dst=/x", "bind source path does not exist: /nowhere/at/all"),
        ("type=bind,dst=/x", "field Source must not be empty"),
        ("type=bind,src=/tmp,dst=x", "invalid mount path: 'x' mount path must be absolute"),
        ("type=bind,src=/tmp,dst=/", "destination can't be '/'"),
        ("type=bind,src=/tmp,dst=/x,bind-propagation=odd", "invalid propagation mode: odd"),
        ("type=bind,src=/tmp,dst=/x,bind-recursive=writable", "requires 'readonly' to be specified"),
        ("type=bind,src=/tmp,dst=/x,ro,bind-recursive=readonly", "requires 'bind-propagation=rprivate'"),
        ("type=bind,src=/tmp,dst=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
        ("type=volume,dst=/x,volume-subpath=a", "must not set Subpath when using anonymous volumes"),
        ("type=volume,src=v,dst=/x,volume-subpath=../a", "subpath must be a relative path within the volume"),
        ("type=volume,dst=/x,readonly", "must not set ReadOnly mode when using anonymous volumes"),
        ("type=image,dst=/x", "field Source must not be empty"),
        ("type=image,src=busybox,dst=/x,image-subpath=/a", "subpath must be a relative path within the volume"),
        ("type=tmpfs,src=/a,dst=/x", "field Source must not be specified"),
        ("type=npipe,src=/a,dst=/x", "npipe"),
        ("type=odd,dst=/x", 'invalid mount config for type "odd": mount type unknown'),
    ],
)
def test_refusals(engine: Engine, mount: str, message: str) -> None:
    before = engine.ok("volume", "ls", "-q")
    done = engine.cli("run", "--rm", "--mount", mount, "busybox", "true")
    assert (done.returncode, message in done.stderr) == (125, True), done.stderr
    assert engine.ok("volume", "ls", "-q") == before


def test_destination_that_is_a_link(engine: Engine, tmp_path: Path) -> None:
    """It leads inside the container, wherever it points."""
    tmp_path.chmod(0o755)
    (tmp_path / "file").write_text("bound\n")
    engine.ok("run", "--name", "box", "busybox", "sh", "-c", "ln -s /../../../made /link; ln -s ../not/there /file")
    engine.ok("commit", "box", "linked")
    flags = ("-v", f"{tmp_path}:/link", "-v", f"{tmp_path}/file:/file")
    assert engine.ok("run", "--rm", *flags, "linked", "cat", "/made/file", "/file") == "bound\nbound"
    assert not Path("/made").exists()
    engine.ok("rm", "box")
    engine.ok("rmi", "linked")
