"""Docker's own daemon for comparisons: on directories of its own, and gone afterwards with everything it made."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import leaks
from tests.conftest import docker_programs, lacking, need


@contextlib.contextmanager
def running_dockerd(client: str = "", flags: Sequence[str] = ()) -> Iterator[tuple[str, Path]]:
    """A daemon without networks: (its ``DOCKER_HOST``, its directory). ``client`` is the command line that asks it."""
    daemon = need("dockerd")
    client = client or (docker_programs() or [""])[0] or need("docker")
    directory = Path(tempfile.mkdtemp(prefix="rl-dockerd-", dir="/tmp"))
    groups = set(leaks.cgroups())
    host = f"unix://{directory}/docker.sock"
    places = [f"--data-root={directory}/root", f"--exec-root={directory}/exec", f"--pidfile={directory}/pid"]
    nets = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([daemon, f"--host={host}", *places, *nets, *flags], stdout=log, stderr=log)
    ask = [client, "-H", host]
    try:
        deadline = time.monotonic() + 60
        while subprocess.run([*ask, "version"], capture_output=True, check=False, timeout=30).returncode:
            if time.monotonic() > deadline or process.poll() is not None:
                lacking("dockerd does not start here: " + (directory / "log").read_text()[-500:])
            time.sleep(0.2)
        yield host, directory
        left = subprocess.run([*ask, "ps", "-aq"], capture_output=True, text=True, check=False, timeout=30)
        if left.stdout.split():
            subprocess.run([*ask, "rm", "-f", *left.stdout.split()], capture_output=True, check=False, timeout=60)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        _remove(directory, groups)


def _remove(directory: Path, groups: set[str]) -> None:
    for item in sorted(leaks.mounts(), reverse=True):
        if item.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", item.split()[0]], capture_output=True, check=False)
    # dockerd leaves its parent control groups; one that was here before, or that another daemon uses, stays.
    for group in sorted(set(leaks.cgroups()) - groups, reverse=True):
        if "/docker" in group:
            with contextlib.suppress(OSError):
                os.rmdir(group)
    shutil.rmtree(directory, ignore_errors=True)
