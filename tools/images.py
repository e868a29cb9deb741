"""Root file systems as tar files, made on this machine without any registry and kept in ``.cache/images``."""

import contextlib
import fcntl
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "images"


class UnavailableError(Exception):
    """This machine lacks what the image is made of; the text says what."""


@contextlib.contextmanager
def _locked(name: str) -> Iterator[Path]:
    """Two test runs that need the same image make it once."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE / f"{name}.tar"


def _made_once(name: str, make: Callable[[Path], None]) -> Path:
    with _locked(name) as path:
        if not path.exists():
            partial = path.with_suffix(".partial")
            try:
                make(partial)
                partial.rename(path)
            finally:
                partial.unlink(missing_ok=True)
        return path


def debian_tar(name: str = "debian", packages: tuple[str, ...] = ()) -> Path:
    """Debian 12, minbase, with ``packages``: about 170 MB as a plain tar.

    Raises: UnavailableError without mmdebstrap, or without a Debian mirror in reach.
    """

    def make(path: Path) -> None:
        program = shutil.which("mmdebstrap")
        if program is None:
            raise UnavailableError("mmdebstrap is not installed")
        command = [program, "--quiet", "--variant=minbase", "--format=tar"]
        if packages:
            command.append("--include=" + ",".join(packages))
        done = subprocess.run([*command, "bookworm", str(path)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or [done.stderr[-200:]]
            raise UnavailableError(f"mmdebstrap failed: {lines[0]}")

    return _made_once(name, make)


def busybox_program() -> Path:
    """The statically linked busybox of this machine. Raises: UnavailableError."""
    for candidate in ("/usr/bin/busybox", "/bin/busybox"):
        path = Path(candidate)
        if path.exists() and not _needed_libraries(path):
            return path
    raise UnavailableError("a statically linked busybox is not installed (Debian package busybox-static)")


PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
app:x:1000:1000:an application:/home/app:/bin/sh
"""
GROUP = "root:x:0:\ndaemon:x:1:\napp:x:1000:\nextra:x:2000:app\n"


def busybox_tar() -> Path:
    """A 2 MB root file system: busybox with all applets, users root (0), daemon (1) and app (1000)."""

    def make(path: Path) -> None:
        program = busybox_program()
        applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
        with tarfile.open(path, "w") as archive:
            for directory, mode in [
                ("bin", 0o755),
                ("etc", 0o755),
                ("root", 0o700),
                ("home", 0o755),
                ("tmp", 0o1777),
                ("home/app", 0o755),
                ("usr", 0o755),
                ("var", 0o755),
                ("www", 0o755),
            ]:
                add_directory(archive, directory, mode)
            add_file(archive, "bin/busybox", program.read_bytes(), 0o755)
            for applet in sorted({*applets, "sh"} - {"busybox"}):
                add_link(archive, f"bin/{applet}", "busybox")
            add_file(archive, "etc/passwd", PASSWD.encode())
            add_file(archive, "etc/group", GROUP.encode())
            add_file(archive, "www/index.html", b"<h1>served from a container</h1>\n")
            add_file(archive, "etc/not-executable", b"#!/bin/sh\n", 0o644)

    return _made_once("busybox", make)


def python_tar() -> Path:
    """The running Python and the libraries it is linked with, where neither Debian nor a registry can be reached."""

    def make(path: Path) -> None:
        program = Path(sys.executable).resolve()
        library = Path(sysconfig.get_path("stdlib")).resolve()
        seen: set[Path] = set()
        with tarfile.open(path, "w") as archive:
            for directory in ("tmp", "root", "etc"):
                add_directory(archive, directory, 0o1777 if directory == "tmp" else 0o755)
            add_file(archive, "etc/passwd", PASSWD.encode())
            add_file(archive, "etc/group", GROUP.encode())
            archive.add(library, arcname=str(library).lstrip("/"), filter=_without_caches)
            archive.add(program, arcname=str(program).lstrip("/"))
            add_link(archive, "bin/python3", str(program))
            for binary in [program, *library.glob("lib-dynload/*.so")]:
                for needed in _needed_libraries(binary):
                    if needed not in seen:
                        seen.add(needed)
                        archive.add(needed.resolve(), arcname=str(needed).lstrip("/"))

    return _made_once("python", make)


def _without_caches(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if {"__pycache__", "site-packages", "test", "idlelib"} & set(member.name.split("/")) else member


def _needed_libraries(binary: Path) -> list[Path]:
    """The shared libraries and the loader that ``ldd`` finds for a program; none for a static one."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    words = (word for line in done.stdout.splitlines() for word in line.split())
    return [Path(word) for word in words if word.startswith("/") and not word.endswith(":") and os.path.exists(word)]


def add_directory(archive: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = mode
    archive.addfile(member)


def add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    archive.addfile(member, io.BytesIO(content))


def add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.SYMTYPE
    member.linkname = target
    archive.addfile(member)
