"""Images and containers that mean harm: each test is a published escape, or a way that one could be built."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from tests.integration.runtime.conftest import World, until

from rundlet.runtime.shimclient import ShimRequestError

pytestmark = [pytest.mark.root]


@pytest.fixture
def evil(world: World) -> Path:
    """A copy of the image that a test may spoil."""
    root = world.base / "evil"
    shutil.copytree(world.rootfs, root, symlinks=True)
    return root


async def test_poisoned_python_and_nss_are_never_run(world: World, evil: Path) -> None:
    """CVE-2019-14271 and its Python kin: nothing of the image is loaded by what sets the container up."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    trap = "import os\nos.open('/trapped', os.O_CREAT)\n"
    for directory in {sys.prefix, sys.base_prefix, "/usr", "/usr/local", "/"}:
        library = evil / directory.lstrip("/") / "lib" / version
        (library / "encodings").mkdir(parents=True, exist_ok=True)
        for name in ("traceback", "linecache", "encodings/idna", "sitecustomize", "pwd", "stringprep", "fcntl", "os"):
            (library / f"{name}.py").write_text(trap)
    for directory in ("lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"):
        place = evil / directory
        place.mkdir(parents=True, exist_ok=True)
        for name in ("libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "libgcc_s.so.1"):
            (place / name).write_bytes(b"\x7fELF not a library")
    (evil / "etc/nsswitch.conf").write_text("passwd: files evil\n")
    box = world.box("sh", "-c", "echo fine; sleep 1000", rootfs=evil, shim_user="alice", tty=True)
    await box.start()
    for _ in range(2):
        code, text = await box.exec("sh", "-c", "ls /trapped; id -un", user="bob")
        assert (code, "bob" in text) == (0, True)
    with pytest.raises(ShimRequestError):
        await box.exec("nope")
    with pytest.raises(ShimRequestError):
        await box.exec("sh", user="n\u00f6body")
    assert not Path(box.spec["rootfs"]["upper"], "trapped").exists()
    await box.client.signal(9)
    await box.wait()
    with pytest.raises(ShimRequestError):
        await world.box("b\u00fccher.example", rootfs=evil, shim_init=True).start()
    assert not list(world.base.rglob("trapped"))


@pytest.mark.parametrize("target", ["/proc/self/fd/3", "/../../../../tmp/outside", "/proc/1/root/tmp/x", "../../x"])
async def test_links_as_mount_destinations_stay_inside(world: World, evil: Path, target: str) -> None:
    """CVE-2021-30465, CVE-2023-27561 …: a destination that is a link is followed inside the root, or refused."""
    (evil / "etc/hosts").unlink(missing_ok=True)
    (evil / "etc/hosts").symlink_to(target)
    source = world.base / "hosts"
    source.write_text("10.0.0.1 here\n")
    outside = Path("/tmp/outside")
    box = world.box(
        "sh",
        "-c",
        "cat /etc/hosts",
        rootfs=evil,
        mounts=[{"type": "bind", "source": str(source), "destination": "/etc/hosts", "options": ["rbind", "rprivate"]}],
    )
    try:
        code, log = await box.run()
        assert (code, log) in ((0, "10.0.0.1 here\n"), (1, log))
    except ShimRequestError as error:
        assert error.step == "mount"
    assert not outside.exists()
    assert not Path("/tmp/x").exists()


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
async def test_mount_points_that_are_links(world: World, evil: Path, name: str) -> None:
    """CVE-2019-19921, CVE-2023-27561: /proc as a link would unmask the real one."""
    shutil.rmtree(evil / name, ignore_errors=True)
    (evil / "elsewhere").mkdir()
    (evil / name).symlink_to("elsewhere")
    box = world.box("/bin/sh", "-c", "cat /proc/keys /proc/sysrq-trigger; echo end; ls /dev/null", rootfs=evil)
    try:
        _, log = await box.run()
    except ShimRequestError:
        return
    if name == "proc":
        # The masks follow the same link, inside the root: what is visible is masked.
        assert "end" in log
        assert "keyring" not in log


async def test_masked_files_are_the_real_null(world: World) -> None:
    """CVE-2025-31133: what covers a masked file is /dev/null, by its numbers."""
    script = "for f in /proc/keys /proc/timer_list /proc/interrupts; do [ -e $f ] && stat -c '%t:%T %F' $f; done"
    code, log = await world.box("sh", "-c", script).run()
    assert code == 0
    assert set(log.splitlines()) == {"1:3 character special file"}


async def test_image_cannot_replace_dev_null(world: World, evil: Path) -> None:
    """CVE-2025-31133: an image whose /dev is full of links gets a fresh /dev over it."""
    shutil.rmtree(evil / "dev", ignore_errors=True)
    (evil / "dev").mkdir()
    for name in ("null", "console", "ptmx", "pts", "shm"):
        (evil / "dev" / name).symlink_to("/proc/sys/kernel/core_pattern")
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    box = world.box("sh", "-c", "stat -c %F /dev/null /dev/console; echo x > /dev/null; tty", rootfs=evil, tty=True)
    code, log = await box.run()
    assert (code, log) == (0, "character special file\r\ncharacter special file\r\n/dev/pts/0\r\n")
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


@pytest.mark.parametrize("number", [*range(3, 16), "self"])
async def test_working_directory_through_a_descriptor(world: World, number: object) -> None:
    """CVE-2024-21626: a working directory that is one of our descriptors."""
    cwd = f"/proc/self/fd/{number}" if number != "self" else "/proc/self/cwd/../../../../../.."
    box = world.box("sh", "-c", "ls -a; cat ./etc/shadow ../../../../../etc/shadow", cwd=cwd)
    try:
        code, log = await box.run()
    except ShimRequestError as error:
        assert error.step in ("cwd", "exec")
        return
    assert code != 0
    assert "root:" not in log


async def test_exec_with_such_a_working_directory(world: World) -> None:
    box = world.box("sh", "-c", "for i in 3 4 5 6 7 8 9; do ln -s /proc/self/fd/$i /f$i; done; echo made; sleep 100")
    await box.start()
    await until(box.log)
    for number in range(3, 10):
        for cwd in (f"/proc/self/fd/{number}", f"/f{number}", f"/proc/1/fd/{number}"):
            with pytest.raises(ShimRequestError) as caught:
                await box.exec("sh", "-c", "ls ../../..", cwd=cwd)
            assert caught.value.step == "cwd"


async def test_interpreter_cannot_be_written(world: World) -> None:
    """CVE-2019-5736: an exec of #!/proc/self/exe, and pid 1 of --init, lead to our interpreter: it is read-only."""
    interpreter = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    before = (interpreter.stat().st_mtime_ns, interpreter.stat().st_size)
    script = "printf '#!/proc/self/exe\\n' > /run-me; chmod +x /run-me; echo made; sleep 100"
    box = await world.box("sh", "-c", script, shim_init=True, privileged=True).start()
    await until(box.log)
    _, text = await box.exec("sh", "-c", "echo x >> /proc/1/exe; echo $?; mount -o remount,rw /proc/1/exe; echo $?")
    assert "Read-only file system" in text or "Text file busy" in text
    with pytest.raises(ShimRequestError):
        await box.exec("/run-me")
    _, text = await box.exec("sh", "-c", "readlink /proc/1/exe")
    assert (interpreter.stat().st_mtime_ns, interpreter.stat().st_size) == before


async def test_no_descriptor_of_the_host_is_inherited(world: World) -> None:
    script = "ls -l /proc/self/fd /proc/1/fd; echo listed; sleep 100"
    box = await world.box("sh", "-c", script, shim_init=True).start()
    await until(lambda: "listed" in box.log())
    for text in (box.log(), (await box.exec("sh", "-c", "ls -l /proc/self/fd /proc/1/fd"))[1]):
        for line in text.splitlines():
            if " -> " in line:
                target = line.partition(" -> ")[2]
                assert target.startswith(("pipe:", "/dev/null", "/proc/")), line


async def test_kernel_is_not_reachable(world: World) -> None:
    script = """
    echo x > /proc/sysrq-trigger; echo x > /proc/sys/kernel/core_pattern; mount -t tmpfs t /tmp
    mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk | wc -c; hostname evil; echo 1 > /sys/fs/cgroup/pids/pids.max
    """
    _, _ = await (box := world.box("sh", "-c", script)).run()
    errors = box.log("stderr")
    assert errors.count("Read-only file system") == 2 + os.path.exists("/proc/sysrq-trigger")
    assert errors.count("Operation not permitted") + errors.count("Permission denied") + errors.count("denied") >= 2
    assert "1\n" not in box.log("stdout")


@pytest.mark.parametrize("quiet", [False, True])
async def test_no_new_privileges(world: World, quiet: bool) -> None:
    box = world.box("grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status", no_new_privileges=quiet)
    assert await box.run() == (0, f"NoNewPrivs:\t{int(quiet)}\nSeccomp:\t2\n")


async def test_run_files_are_root_only(world: World) -> None:
    box = await world.box("sleep", "100").start()
    mode = os.stat(box.spec["socket"]).st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(os.stat(box.spec["exit_record"]).st_mode) == 0o600
