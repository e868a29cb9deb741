"""Published escapes, tried through the whole engine: one test each. What they would change lies on the host."""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import need
from tests.engines import Engine, wait_for

pytestmark = [pytest.mark.root]

CANARY = "canary-91be"


@pytest.fixture
def core_pattern() -> Iterator[None]:
    """The usual prize: whoever writes it runs programs as the host's root."""
    path = Path("/proc/sys/kernel/core_pattern")
    before = path.read_text()
    yield
    after = path.read_text()
    if after != before:
        path.write_text(before)
    assert after == before


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def box(engine: Engine, *flags: str, command: str = "sleep 600") -> str:
    engine.ok("run", "-d", "--name", "box", *flags, "busybox", "sh", "-c", command)
    return "box"


def test_runtime_binary_cannot_be_overwritten(engine: Engine) -> None:
    """CVE-2019-5736: a program that is a link to ourselves, and a pid 1 that is ours, are no way to our interpreter."""
    interpreter = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    before = (interpreter.stat().st_mtime_ns, interpreter.stat().st_size)
    script = r"printf '#!/proc/self/exe\n' > /bin/trap; chmod +x /bin/trap; ln -s /proc/self/exe /bin/self; sleep 600"
    box(engine, "--init", "--privileged", command=script)
    for name in ("/bin/trap", "/bin/self"):
        engine.cli("exec", "box", name, "-c", "open('/x', 'w')")
        engine.cli("run", "--rm", "--entrypoint", name, "busybox")
    attack = (
        "for i in $(seq 300); do for p in /proc/[0-9]*; do : 2>/dev/null >> $p/exe; done; done 2>/dev/null; echo over"
    )
    racing = engine.popen("exec", "box", "sh", "-c", attack)
    for _ in range(15):
        engine.cli("exec", "box", "/bin/trap")
    racing.communicate(timeout=60)
    text = engine.cli("exec", "box", "sh", "-c", "echo x >> /proc/1/exe").stderr
    assert "Read-only" in text or "busy" in text
    assert (interpreter.stat().st_mtime_ns, interpreter.stat().st_size) == before


@pytest.mark.parametrize("number", [*range(12), "cwd", "root"])
def test_working_directory_is_no_descriptor_of_ours(engine: Engine, number: object) -> None:
    """CVE-2024-21626: -w /proc/self/fd/N, of run and of exec, and through links in the image."""
    engine.ok("run", "-d", "--name", "box", "busybox", "sh", "-c", f"ln -s /proc/self/fd/{number} /link; sleep 600")
    place = f"/proc/self/fd/{number}" if isinstance(number, int) else f"/proc/self/{number}/../../.."
    look = "cat ../../../../../../etc/shadow ./etc/shadow; ls -d ../../../../../srv ../../../../../tmp/rl-*"
    for command in (
        ("run", "--rm", "-w", place, "busybox", "sh", "-c", look),
        ("exec", "-w", place, "box", "sh", "-c", look),
        ("exec", "-w", "/link", "box", "sh", "-c", look),
    ):
        done = engine.cli(*command)
        assert "root:" not in done.stdout.replace("root:x:0:0:root:/root:/bin/sh", "")
        assert "/rl-" not in done.stdout


def test_mount_destination_swapped_by_another_container(engine: Engine, tmp_path: Path) -> None:
    """CVE-2021-30465: a volume in which another container swaps a directory for a link while mounts are made."""
    shared = tmp_path / "shared"
    (shared / "a").mkdir(parents=True)
    os.chmod(tmp_path, 0o755)
    swap = "while :; do rm -rf /s/b; ln -s / /s/b; rm -rf /s/b; mkdir -p /s/b/etc; done"
    box(engine, "-v", f"{shared}:/s", command=swap)
    marker = tmp_path / "marker"
    marker.mkdir()
    (marker / CANARY).touch()
    before = set(os.listdir("/"))
    for _ in range(15):
        # Whichever it was: inside the container's root, never the host's.
        engine.cli("run", "--rm", "-v", f"{shared}:/s", "-v", f"{marker}:/s/b/etc/x", "busybox", "ls", "/etc/x")
    assert set(os.listdir("/")) == before
    assert not Path("/etc/x").exists()
    with open("/proc/self/mountinfo") as mounts:
        assert str(marker) not in mounts.read()


@pytest.mark.usefixtures("core_pattern")
def test_image_that_replaces_devices_and_proc(engine: Engine, busybox_tar: Path, tmp_path: Path) -> None:
    """CVE-2025-31133, -52565, -52881, CVE-2023-27561, CVE-2019-19921: links where mounts, masks and consoles go."""
    root = tmp_path / "root"
    root.mkdir()
    shutil.unpack_archive(busybox_tar, root, filter="fully_trusted")
    target = "/proc/sys/kernel/core_pattern"
    for number, links in enumerate(
        (
            {"dev": "/proc/sys"},
            {"proc": "/tmp", "sys": "/proc"},
            {"etc/hosts": target, "etc/resolv.conf": target, "etc/hostname": target},
            {
                "dev/null": target,
                "dev/console": target,
                "dev/pts": "/proc/1",
                "dev/shm": "/proc/sys",
                "dev/ptmx": target,
            },
            {"tmp": "/proc/self/root/proc/sys/kernel", "home": "/proc/1/fd", "root": "/proc/1/cwd"},
        )
    ):
        copy = tmp_path / str(number)
        shutil.copytree(root, copy, symlinks=True)
        for name, to in links.items():
            place = copy / name
            if place.is_symlink() or place.is_file():
                place.unlink()
            elif place.is_dir():
                shutil.rmtree(place)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(to)
        shutil.make_archive(str(copy), "tar", copy)
        engine.ok("import", f"{copy}.tar", f"evil{number}")
        script = (
            "for f in null console; do echo '|/tmp/evil' > /dev/$f; done; cat /proc/keys; stat -c '%F %t:%T' /dev/null"
        )
        for flags in ((), ("-t",), ("--read-only",), ("-v", "/etc/hostname:/tmp/x"), ("-w", "/root/x")):
            done = engine.cli("run", "--rm", *flags, f"evil{number}", "sh", "-c", script)
            assert "keyring" not in done.stdout
            if "proc" in links:
                assert "not a directory" in done.stderr, "what is masked by its name must be where it is called so"
            if "character" in done.stdout and number != 0:
                assert "character special file 1:3" in done.stdout
        engine.ok("rmi", f"evil{number}")


@pytest.mark.usefixtures("core_pattern")
def test_masks_hold_while_another_process_races(engine: Engine) -> None:
    """CVE-2025-31133: /dev is swapped from a container that shares the volume used as /dev while masks are made."""
    engine.ok("volume", "create", "devs")
    try:
        link = "rm -f null; ln -s /proc/sys/kernel/core_pattern null"
        swap = f"cd /d; while :; do {link}; rm -f null; mknod null c 1 3; done"
        box(engine, "-v", "devs:/d", command=swap)
        for _ in range(15):
            script = "for f in /proc/keys /proc/timer_list; do stat -c '%F %t:%T' $f; done"
            done = engine.cli("run", "--rm", "-v", "devs:/dev", "busybox", "sh", "-c", script)
            if done.returncode == 0:
                assert set(done.stdout.splitlines()) == {"character special file 1:3"}
    finally:
        engine.ok("rm", "-f", "box")
        engine.ok("volume", "rm", "devs")


def test_poisoned_image_is_never_run_outside(engine: Engine, busybox_tar: Path, tmp_path: Path) -> None:
    """CVE-2019-14271: libraries, NSS modules and a Python of the image; exec, user look-up, top, cp, and errors."""
    root = tmp_path / "root"
    root.mkdir()
    shutil.unpack_archive(busybox_tar, root, filter="fully_trusted")
    trap = f"import os\nos.close(os.open('/{CANARY}', os.O_CREAT))\n"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in {sys.prefix, sys.base_prefix, "/usr", "/usr/local", "/"}:
        library = root / prefix.lstrip("/") / "lib" / version
        (library / "encodings").mkdir(parents=True, exist_ok=True)
        for name in (
            "os",
            "traceback",
            "linecache",
            "sitecustomize",
            "pwd",
            "grp",
            "encodings/idna",
            "tarfile",
            "fcntl",
        ):
            (library / f"{name}.py").write_text(trap)
    for name in ("libnss_files.so.2", "libnss_compat.so.2", "libc.so.6"):
        for directory in ("lib", "lib64", "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"):
            (root / directory).mkdir(parents=True, exist_ok=True)
            (root / directory / name).write_bytes(b"\x7fELF none")
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/nsswitch.conf").write_text("passwd: files evil\ngroup: evil\n")
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nbob:x:1000:1000::/:/bin/sh\n")
    archive = shutil.make_archive(str(tmp_path / "poisoned"), "tar", root)
    engine.ok("import", archive, "poisoned")
    engine.ok("run", "-d", "--name", "box", "-u", "bob", "poisoned", "sleep", "600")
    assert engine.ok("exec", "-u", "bob", "box", "id", "-u") == "1000"
    engine.cli("exec", "-u", "b\u00fccher.example", "box", "true")
    engine.cli("exec", "box", "\ud83d".encode("utf-16", "surrogatepass").hex())
    engine.ok("top", "box")
    (tmp_path / "file").write_text("x")
    engine.cli("cp", str(tmp_path / "file"), "box:/tmp/file")
    engine.cli("cp", "box:/etc/passwd", "-")
    for place in (Path("/"), Path(engine.layout.root), Path(engine.layout.run)):
        assert not (place / CANARY).exists()
    assert engine.cli("exec", "box", "ls", f"/{CANARY}").returncode != 0
    engine.ok("rm", "-f", "box")
    engine.ok("rmi", "poisoned")


def test_release_agent_and_namespaces(engine: Engine) -> None:
    """CVE-2022-0492: no cgroup hierarchy to mount, no user namespace to get rights in, no group file to write."""
    script = """
    mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c && echo mounted
    unshare -U true 2>/dev/null && echo unshared; unshare -m true 2>/dev/null && echo unshared
    for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/release_agent; do echo x > $f && echo written; done
    for f in /sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/*/tasks; do echo 1 > $f && echo written; done
    echo over
    """
    assert engine.cli("run", "--rm", "busybox", "sh", "-c", script).stdout.split() == ["over"]


def test_raw_devices_are_out_of_reach(engine: Engine) -> None:
    """mknod is allowed, as in Docker; opening what was made is not."""
    disk = os.stat(next(iter(sorted(Path("/dev").glob("[vs]da"))), "/dev/null")).st_rdev
    script = f"""
    mknod /d b {os.major(disk)} {os.minor(disk)} && head -c 1 /d && echo read
    mknod /k c 1 11 && head -c 1 /k && echo read
    mknod /m c 1 1 && head -c 1 /m && echo read; echo over
    """
    assert engine.cli("run", "--rm", "busybox", "sh", "-c", script).stdout.split() == ["over"]
    done = engine.cli(
        "run", "--rm", "--device", "/dev/kmsg:/dev/x:r", "busybox", "sh", "-c", "echo y > /dev/x; echo over"
    )
    assert ("denied" in done.stderr or "not permitted" in done.stderr, done.stdout.strip()) == (True, "over")


def test_groups_hold_the_primary_one(engine: Engine) -> None:
    """CVE-2022-36109: a program that drops its primary group must not get around a file's group permissions."""
    assert engine.ok("run", "--rm", "-u", "1234:4321", "busybox", "id", "-G") == "4321"
    assert engine.ok("run", "--rm", "-u", "0", "--group-add", "77", "busybox", "id", "-G") == "0 77"


def test_exec_under_another_runtime_is_filtered(new_engine: Callable[..., Engine]) -> None:
    """Execs are ours under every runtime, and so is their filter."""
    engine = new_engine("--add-runtime", f"runc={need('runc')}")
    box(engine, "--runtime", "runc")
    for flags in ((), ("--privileged",)):
        text = engine.ok("exec", *flags, "box", "grep", "Seccomp:", "/proc/self/status")
        assert text == "Seccomp:\t2"


@pytest.mark.parametrize("flags", [(), ("--init",)], ids=["plain", "init"])
def test_filter_and_capabilities_hold_everywhere(engine: Engine, flags: tuple[str, ...]) -> None:
    """The first process, what --init starts, an exec, a privileged exec (it gets capabilities, the filter stays)."""
    box(engine, *flags)
    look = ("grep", "-E", "^(Seccomp|CapBnd|CapEff|CapInh|CapAmb):", "/proc/self/status")
    first = engine.ok("exec", "box", "grep", "-E", "^(Seccomp|CapBnd|CapEff|CapInh|CapAmb):", "/proc/1/status")
    assert first == engine.ok("exec", "box", *look)
    assert "Seccomp:\t2" in first
    assert "CapBnd:\t00000000a80425fb" in first
    assert "Seccomp:\t2" in engine.ok("exec", "--privileged", "box", *look)
    quiet = engine.ok(
        "run", "--rm", "--security-opt", "no-new-privileges", *flags, "busybox", "grep", "NoNew", "/proc/self/status"
    )
    assert quiet.endswith("1")
    assert engine.ok("run", "--rm", *flags, "-u", "1000", "busybox", *look[:2], "CapEff", "/proc/self/status").endswith(
        "0" * 16
    )


def test_supervisors_cannot_be_touched(engine: Engine) -> None:
    """Neither signals nor ptrace nor /proc reach our processes: they are in no namespace of a container."""
    box(engine, "--cap-add", "SYS_PTRACE", "--cap-add", "KILL")
    shim = parent(engine.host_pid("box"))
    engine.cli("exec", "box", "sh", "-c", f"kill -9 {shim}; kill -9 -1; ls /proc/{shim}")
    assert Path(f"/proc/{shim}/comm").read_text() == "rundlet-shim\n"
    assert os.stat(f"/proc/{shim}/environ").st_uid == 0
    status = Path(f"/proc/{parent(shim)}/status").read_text()
    assert "Name:\trundlet-launch" in status
    assert engine.ok("exec", "box", "echo", "alive") == "alive" or engine.field("box", "{{.State.Status}}") == "exited"


def _memory_has(pid: int, needle: bytes) -> bool:
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if not found or "[v" in line:
                continue
            start, end = (int(part, 16) for part in found.groups())
            try:
                memory.seek(start)
                if needle in memory.read(end - start):
                    return True
            except OSError:
                continue
    return False


def test_secrets_of_one_container_are_in_no_other(engine: Engine) -> None:
    """Each shim is a fork of the launcher: what the launcher ever read would be in the memory of all later ones."""
    secret = "canary-" + os.urandom(6).hex()
    engine.ok("run", "-d", "--name", "first", "-e", f"SECRET={secret}", "busybox", "sleep", "600")
    engine.ok("exec", "-e", f"MORE={secret}", "first", "true")
    engine.ok("run", "--rm", "-e", f"SECRET={secret}", "busybox", "true")
    box(engine, "--init")
    first, second = engine.host_pid("first"), engine.host_pid("box")
    assert _memory_has(first, secret.encode())  # the search finds what is there
    for pid in (second, parent(second), parent(parent(second))):
        assert not _memory_has(pid, secret.encode()), Path(f"/proc/{pid}/comm").read_text()
        assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_process_that_outlives_its_shim_is_ended(engine: Engine) -> None:
    """PDEATHSIG can be cleared by any process: the group is swept by the engine."""
    box(engine, "--init", command="sleep 601 & sleep 602")
    pid = engine.host_pid("box")
    os.kill(parent(pid), 9)
    wait_for(lambda: engine.field("box", "{{.State.Status}}") == "exited", 10)
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 10)
    assert engine.field("box", "{{.State.ExitCode}}") == "137"


def peak_kib(pid: int) -> int:
    """The most memory that a process had, shared files included: how many pages of those depends on the machine."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1))


def test_bombs_stay_inside(engine: Engine) -> None:
    """Processes, memory and output without end: limits hold, the reason is known, others work on."""
    done = engine.cli("run", "--rm", "--pids-limit", "40", "busybox", "sh", "-c", "f(){ f|f& };f; sleep 1; echo over")
    assert ("can't fork" in done.stderr or "unavailable" in done.stderr, done.stdout) == (True, "over\n")
    assert engine.cli("run", "--name", "eater", "-m", "24m", "busybox", "tail", "/dev/zero").returncode == 137
    assert engine.field("eater", "{{.State.OOMKilled}}") == "true"
    engine.ok("run", "-d", "--name", "calm", "busybox", "sleep", "100")
    calm = peak_kib(parent(engine.host_pid("calm")))
    engine.ok("run", "-d", "--name", "box", "--log-opt", "max-size=100k", "busybox", "cat", "/dev/zero")
    shim = parent(engine.host_pid("box"))
    time.sleep(1)
    assert engine.ok("run", "--rm", "busybox", "echo", "fine", timeout=10) == "fine"
    assert (
        engine.ok("exec", "box", "sh", "-c", "for i in 1 2 3 4; do cat /dev/zero & done; sleep 0.2; echo", timeout=20)
        is not None
    )
    assert peak_kib(shim) - calm < 4_000
    engine.ok("pause", "box")
    engine.ok("kill", "box", timeout=10)
    wait_for(lambda: engine.field("box", "{{.State.Status}}") == "exited", 10)


def test_bind_sources_that_are_odd(engine: Engine, tmp_path: Path) -> None:
    """/, /proc, a socket, a volume named "..": as in Docker, or refused; nothing hangs."""
    assert engine.cli("run", "--rm", "-v", "/:/host:ro", "busybox", "ls", "/host/proc").returncode == 0
    assert engine.cli("run", "--rm", "-v", "/proc:/p:ro", "busybox", "ls", "/p/1").returncode == 0
    assert (
        engine.cli("run", "--rm", "-v", f"{engine.socket}:/s.sock", "busybox", "test", "-S", "/s.sock").returncode == 0
    )
    for odd in ("a/../b:/x", "/tmp:/", "/tmp:../x"):
        assert engine.cli("run", "--rm", "-v", odd, "busybox", "true").returncode == 125
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    box(engine, "-v", f"{fifo}:/etc/passwd")
    assert engine.cli("exec", "-u", "nobody", "box", "true", timeout=15).returncode != 0
    assert engine.cli("run", "--rm", "-v", f"{fifo}:/f", "busybox", "test", "-p", "/f", timeout=15).returncode == 0


def test_cidfile_is_not_overwritten(engine: Engine, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "cid"
    link.symlink_to(victim)
    assert engine.cli("run", "--rm", "--cidfile", str(link), "busybox", "true").returncode == 125
    assert victim.read_text() == "precious"


def test_directories_deeper_than_any_path(new_engine: Callable[..., Engine]) -> None:
    """A container that nests them keeps nobody from sizes, from removing them, and the engine from its next start."""
    engine = new_engine()
    nest = "for i in $(seq 3000); do mkdir ddd && cd ddd || break; done 2>/dev/null; echo done"
    assert engine.ok("run", "--name", "deep", "-v", "deep:/v", "busybox", "sh", "-c", f"cd /v; {nest}") == "done"
    assert engine.ok("exec", engine.ok("run", "-d", "busybox", "sleep", "1000"), "sh", "-c", nest) == "done"
    assert len(engine.ok("ps", "-as", "--format", "{{.Size}}").splitlines()) == 2
    engine.ok("system", "df", "-v")
    engine.remove_containers()
    volume = Path(engine.layout.volumes, "deep")
    lost = Path(engine.layout.volumes, "lost")
    assert engine.ok("run", "--rm", "-v", "deep:/v", "busybox", "mv", "/v/ddd", "/v/e") == ""
    os.rename(volume, lost)  # as one whose removal was cut off
    (volume / "_data").mkdir(parents=True)
    engine.wait_for_successor(engine.kill())
    assert not lost.exists()
    engine.ok("run", "--rm", "-v", "deep:/v", "busybox", "sh", "-c", f"cd /v; {nest}")
    engine.ok("volume", "rm", "deep")
    assert not volume.exists()
