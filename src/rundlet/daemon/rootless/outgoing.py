"""The way out of an ordinary user's network: a program of the machine that carries packets, kept running.

pasta is the first choice, slirp4netns the second, our own forwarder the last: it is one process more of ours.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Final

PROGRAMS: Final = ("pasta", "slirp4netns")
BUILT_IN: Final = "rundlet"
_BOOTSTRAP: Final = (
    "import sys;sys.path.append({path!r});from rundlet.daemon.rootless.forwarder import main;main(sys.argv[1:])"
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICE: Final = "tap0"
_MTU: Final = "65520"
_READY_SECONDS: Final = 10.0
_PAUSE: Final = 1.0


def find() -> tuple[str, str]:
    """(name, path) of the program to be used; the path of our own is empty."""
    path = os.environ.get("PATH") or _PATH
    for name in PROGRAMS:
        found = shutil.which(name, path=path)
        if found:
            return name, found
    return BUILT_IN, ""


class WayOut:
    """One program for one network namespace; a program that ends is started again."""

    def __init__(self, network: int, user: int, run: str) -> None:
        """``network``, ``user``: descriptors of the namespaces; ``run``: where the program's number is noted."""
        self._network = network
        self._user = user
        self._noted = f"{run}/way-out.pid"
        self._process: subprocess.Popen[bytes] | None = None
        self._name, self._program = find()
        self._next = 0.0

    def start(self) -> str:
        """Returns the name of what carries packets."""
        self._end_former()
        self._spawn()
        return self._name

    def look_after(self) -> None:
        """Start it again when it is gone, once a second at most."""
        if self._process is None or self._process.poll() is None or time.monotonic() < self._next:
            return
        self._spawn()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def _spawn(self) -> None:
        self._next = time.monotonic() + _PAUSE
        user, network = f"/proc/self/fd/{self._user}", f"/proc/self/fd/{self._network}"
        if self._name == "pasta":
            arguments = ["--config-net", "--foreground", "--quiet", "-4", "--ns-ifname", _DEVICE]
            arguments += ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]
            arguments += ["--userns", user, "--netns", network]
            self._process = self._popen([self._program, *arguments])
            return
        ready, writer = os.pipe()
        if self._name == "slirp4netns":
            arguments = [self._program, "--configure", "--mtu", _MTU, "--disable-host-loopback", "--netns-type=path"]
            arguments += ["--userns-path", user, "--ready-fd", str(writer), network, _DEVICE]
        else:
            home = os.path.abspath(__file__)
            for _ in range(4):
                home = os.path.dirname(home)
            arguments = [sys.executable, "-I", "-S", "-c", _BOOTSTRAP.format(path=home)]
            arguments += [str(self._user), str(self._network), str(writer)]
        try:
            self._process = self._popen(arguments, writer)
        finally:
            os.close(writer)
        with open(ready, "rb") as pipe:
            select.select([pipe], [], [], _READY_SECONDS)

    def _popen(self, arguments: list[str], *more: int) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(self._user, self._network, *more),
        )
        with open(self._noted, "w", encoding="ascii") as file:
            file.write(f"{process.pid}\n")
        return process

    def _end_former(self) -> None:
        """What a killed keeper has left running would fight with ours for the device."""
        try:
            with open(self._noted, encoding="ascii") as file:
                pid = int(file.read())
            descriptor = os.pidfd_open(pid)
        except (OSError, ValueError):
            return
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read()
            if any(name.encode() in words for name in (*PROGRAMS, __package__ or BUILT_IN)):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                select.select([descriptor], [], [], _READY_SECONDS)
        except OSError:
            pass  # it has just ended
        finally:
            os.close(descriptor)
