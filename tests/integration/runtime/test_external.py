"""The same bundle under another OCI runtime, and what runs inside compared with our own."""

import asyncio
import difflib
import shutil
from typing import Any

import pytest
from tests.integration.runtime.conftest import Box, World, read_all

from rundlet.linux.seccomp import compiler
from rundlet.runtime import spec as runtime_spec
from rundlet.runtime.shimclient import ShimRequestError

RUNC = shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = [pytest.mark.root, pytest.mark.skipif(RUNC is None, reason="runc is not installed")]


def runc(world: World, *args: str, **options: Any) -> Box:
    box = world.box(*args, **options, shim_runtime={"path": RUNC})
    if not options.get("privileged"):
        names = frozenset(runtime_spec.capability_names(world.requests[box.id]))
        box.spec["oci"]["linux"]["seccomp"] = compiler.oci_profile(names)
    return box


async def test_runs(world: World) -> None:
    box = runc(world, "sh", "-c", "echo out; echo err >&2; id -u; exit 3", shim_user="alice")
    code, _ = await box.run()
    assert (code, box.log("stdout"), box.log("stderr")) == (3, "out\n1000\n", "err\n")


async def test_terminal_exec_and_signal(world: World) -> None:
    box = runc(world, "sh", "-c", "stty size; sleep 100", tty=True)
    await box.start(attach=True)
    assert await box.exec("sh", "-c", "hostname") == (0, f"{box.id[:12]}\n")
    await box.client.signal(9)
    assert box.stream
    assert await read_all(box.stream) == b"24 80\r\n"
    box.stream = None
    assert (await box.wait()).code == 137


async def test_failure(world: World) -> None:
    with pytest.raises(ShimRequestError, match=r'exec: "nope": executable file not found in \$PATH') as caught:
        await runc(world, "nope").start()
    assert caught.value.step == "exec"


async def test_init_is_one_of_the_machines(world: World) -> None:
    box = runc(world, "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; exit 5")
    box.spec["init"] = True
    code, _ = await box.run()
    assert (code, box.log("stdout")) == (5, "/sbin/docker-init -- sh -c tr '\\0' ' ' < /proc/1/cmdline; exit 5 ")


STATUS = "^(Umask|Uid|Gid|Groups|NSsid|Sig(Blk|Ign|Cgt)|Cap.*|NoNewPrivs|Seccomp|Threads|Cpus_allowed)\t?:"
SCRIPT = f"""
grep -E '{STATUS}' /proc/self/status
cat /proc/self/limits /proc/self/oom_score_adj /proc/sys/net/ipv4/ping_group_range
sed 's/^[0-9]* [0-9]* [0-9]*:[0-9]* //; s/lowerdir.*//; s/master:[0-9]* //' /proc/self/mountinfo | sort
cat /proc/self/cgroup; env | sort; pwd; ls /proc/self/fd; umask; nice; hostname
ls -ln /dev | sed 's/ [A-Z][a-z][a-z] .*:.. / /'; ls -ld /dev /dev/shm /dev/mqueue | cut -d' ' -f1
for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /sys/firmware; do head -c 5 $f | wc -c; done 2>&1
cat /proc/1/comm
"""


@pytest.mark.parametrize("options", [{}, {"read_only": True}, {"privileged": True}], ids=["plain", "ro", "privileged"])
async def test_inside_looks_as_under_runc(world: World, options: dict[str, Any]) -> None:
    own, other = world.box("sh", "-c", SCRIPT, **options), runc(world, "sh", "-c", SCRIPT, **options)
    other.spec["oci"]["hostname"] = other.spec["id"][:12]
    codes = [code for code, _ in await asyncio.gather(own.run(), other.run())]
    assert codes[0] == codes[1]
    difference = list(difflib.unified_diff(normal(other), normal(own), "runc", "rundlet", n=0, lineterm=""))
    assert not difference, "\n".join(difference)


def normal(box: Box) -> list[str]:
    """The output, less what is known to differ, and why."""
    text = box.log("stdout").replace(box.id, "ID").replace(box.id[:12], "ID")
    # posix_spawn leaves libc's own two signals ignored, and runc passes that on.
    text = text.replace("SigIgn:\t0000000080000000", "SigIgn:\t0000000000000000")
    # runc 1.1 forgets to make the tmpfs of cgroup v1 read-only where there is a cgroup namespace.
    return text.replace("/ /sys/fs/cgroup rw,nosuid", "/ /sys/fs/cgroup ro,nosuid").splitlines()
