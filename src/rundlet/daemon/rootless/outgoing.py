"""The way out of an ordinary user's network: a program of the machine that carries packets, kept running.

pasta is the first choice, slirp4netns the second. Without either there is none, and it is said.
"""

import os
import shutil
import subprocess
import time
from typing import Final

PROGRAMS: Final = ("pasta", "slirp4netns")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICE: Final = "tap0"
_MTU: Final = "65520"
_READY_SECONDS: Final = 10.0
_PAUSE: Final = 1.0


def find() -> tuple[str, str]:
    """(name, path) of the program to be used; ("none", "") without one."""
    path = os.environ.get("PATH") or _PATH
    for name in PROGRAMS:
        found = shutil.which(name, path=path)
        if found:
            return name, found
    return "none", ""


class WayOut:
    """One program for the network namespace of ``pid``; a program that ends is started again."""

    def __init__(self, network: int, user: int, pid: int) -> None:
        self._network = network
        self._user = user
        self._pid = pid
        self._process: subprocess.Popen[bytes] | None = None
        self._name, self._program = find()
        self._next = 0.0

    def start(self) -> str:
        """Returns the name of what carries packets."""
        if self._program:
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
            self._process = self._popen(arguments)
            return
        ready, writer = os.pipe()
        arguments = ["--configure", "--mtu", _MTU, "--disable-host-loopback", "--netns-type=path"]
        arguments += ["--userns-path", user, "--ready-fd", str(writer), network, _DEVICE]
        try:
            self._process = self._popen(arguments, writer)
        finally:
            os.close(writer)
        os.close(ready)

    def _popen(self, arguments: list[str], *more: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [self._program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(self._user, self._network, *more),
        )
