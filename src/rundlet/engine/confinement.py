"""AppArmor and SELinux: what containers get unless they ask otherwise, and whether they can ask.

Where AppArmor is active a profile of our own is loaded once, which denies what Docker's default profile denies; for
that the machine needs apparmor_parser. SELinux only does what a container is told to by ``label=`` and ``:z``.
"""

import os
import shutil
import tempfile
from functools import cache
from typing import Final

from rundlet.linux import lsm

PROFILE: Final = "rundlet-default"
UNCONFINED: Final = "unconfined"
_PATH: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_FILE_LABEL: Final = "system_u:object_r:container_file_t:s0"
_PROCESS_LABEL: Final = {"user": "system_u", "role": "system_r", "type": "container_t", "level": "s0"}
LABEL_PARTS: Final = tuple(_PROCESS_LABEL)

TEXT: Final = f"""
# Made by Rundlet for its containers; loaded again with every start of the machine.
profile {PROFILE} flags=(attach_disconnected,mediate_deleted) {{
  file,
  network,
  capability,
  umount,
  unix,

  # Its own processes, and the engine outside.
  signal (send, receive) peer={PROFILE},
  signal (receive) peer=unconfined,
  signal (receive) peer=rundlet*,
  ptrace (trace, read, tracedby, readby) peer={PROFILE},

  # Nothing is mounted in a container.
  deny mount,

  # The kernel's switches. What a container may have changed was written before it was confined.
  deny /proc/sys/{{abi,debug,dev,fs,net,user,vm}}/** wklx,
  deny /proc/sys/kernel/[^ms]** wklx,
  deny /proc/{{acpi,asound,bus,fs,irq,scsi,tty}}/** wklx,
  deny /proc/{{kcore,kmem,mem,sysrq-trigger}} rwklx,

  # Devices, drivers, firmware; control groups are another matter.
  deny /sys/{{block,bus,class,dev,devices,firmware,hypervisor,kernel,module,power}}/** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/firmware/** r,
  deny /sys/kernel/security/** r,
  deny /sys/devices/virtual/powercap/** r,
}}
"""


def parser() -> str | None:
    """The program that loads profiles."""
    return shutil.which("apparmor_parser", path=_PATH)


@cache
def default_profile() -> str:
    """The profile that containers run under, loaded by now; empty where there is none to be had."""
    if not lsm.apparmor_enabled():
        return ""
    if PROFILE in lsm.apparmor_profiles():
        return PROFILE
    program = parser()
    return PROFILE if program is not None and _load(program) else ""


def no_profile() -> str:
    """How ``inspect`` names that a container has none: a word where AppArmor is active, else nothing."""
    return UNCONFINED if lsm.apparmor_enabled() else ""


def _load(program: str) -> bool:
    """The engine has threads and never forks: posix_spawn, with the profile as a file on standard input."""
    with tempfile.TemporaryFile() as text:
        text.write(TEXT.encode())
        text.seek(0)
        actions = [(os.POSIX_SPAWN_DUP2, text.fileno(), 0)]
        try:
            pid = os.posix_spawn(program, [program, "-Kr"], {"PATH": _PATH}, file_actions=actions)
        except OSError:
            return False
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def warnings() -> list[str]:
    """For ``info``."""
    if lsm.apparmor_enabled() and not default_profile():
        why = "apparmor_parser is missing" if parser() is None else "its profile can't be loaded"
        return [f"WARNING: AppArmor is active but does not confine containers: {why}"]
    return []


def options() -> list[str]:
    """What ``info`` lists among the security options."""
    found = ["name=apparmor"] if default_profile() else []
    return found + (["name=selinux"] if lsm.selinux_enabled() else [])


def process_label(parts: dict[str, str]) -> str:
    """The label of ``--security-opt label=user:U,role:R,type:T,level:L``; empty when none of them was given."""
    if not parts:
        return ""
    return ":".join((_PROCESS_LABEL | parts)[name] for name in LABEL_PARTS)


def relabel(path: str) -> None:
    """``:z`` and ``:Z``: what containers may use. Without SELinux they mean nothing, as in Docker. Raises: OSError."""
    if lsm.selinux_enabled():
        lsm.relabel(path, _FILE_LABEL)
