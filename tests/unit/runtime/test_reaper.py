"""pid 1 of ``--init``: its machine code is what it should be, and does what it should."""

import os
import platform
import signal
from pathlib import Path

import capstone
import pytest
from tests.engines import wait_for

from rundlet.runtime.init import reaper
from rundlet.runtime.init.machine import X86, At

DISASSEMBLERS = {
    "x86_64": (capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "aarch64": (capstone.CS_ARCH_ARM64, capstone.CS_MODE_LITTLE_ENDIAN),
}
BEGIN = 176  # of the code: after the ELF header and two segments
LISTINGS = Path(__file__).parent / "listings"


def disassembled(machine: str, image: bytes) -> list[str]:
    found = capstone.Cs(*DISASSEMBLERS[machine]).disasm(image[BEGIN:], 0x400000 + BEGIN)
    lines = []
    for item in found:
        lines.append(f"{item.address:x}: {item.mnemonic} {item.op_str}".rstrip())
        if item.mnemonic in ("syscall", "svc") and lines[-2].endswith((", 0xe7", ", #0x5e")):
            return lines  # exit_group: what follows is data
    return lines


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_code_is_what_the_listing_says(machine: str) -> None:
    image = reaper.build(machine, 2)
    assert disassembled(machine, image) == (LISTINGS / f"reaper-{machine}.txt").read_text().splitlines()
    assert len(image) < 512


def test_signals_and_name_are_in_the_image() -> None:
    image = reaper.build("x86_64", 2)
    assert image.endswith(b"rundlet-init\0")
    waited = int.from_bytes(image[-21:-13], "little")
    numbers = {number for number in range(1, 65) if waited >> number - 1 & 1}
    assert numbers == {int(number) for number in reaper.forwarded()} | {int(signal.SIGCHLD)}


def test_a_label_that_is_nowhere() -> None:
    code = X86()
    code.call("prctl", 1, At("nowhere"))
    with pytest.raises(KeyError):
        code.image()


def supervised(program: str) -> int:
    """Run ``sh -c program`` under the code; returns the process number."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, reaper.forwarded() | {signal.SIGCHLD})
        memory = reaper.open_memory()
        child = os.fork()
        if child == 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execv("/bin/sh", ["sh", "-c", program])
        reaper.become(memory, child, ["sh"])
    finally:
        os._exit(99)


@pytest.mark.skipif(platform.machine() not in DISASSEMBLERS, reason="code for another machine")
@pytest.mark.parametrize(
    ("program", "code"),
    [("exit 0", 0), ("exit 42", 42), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("sleep 0.01 & exit 3", 3)],
)
def test_it_ends_as_its_program_ends(program: str, code: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(supervised(program), 0)[1]) == code


@pytest.mark.skipif(platform.machine() not in DISASSEMBLERS, reason="code for another machine")
def test_it_passes_signals_on(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    pid = supervised(f"trap 'exit 7' USR1; trap 'x=5' HUP; echo > {ready}; while :; do sleep 0.01; done")
    ready.read_text()  # the program runs, which its parent may not have noticed yet
    name = Path(f"/proc/{pid}/comm")
    wait_for(lambda: name.read_text() == "rundlet-init\n", 20, hint="the code has begun")
    os.kill(pid, signal.SIGHUP)
    assert os.readlink(f"/proc/{pid}/exe") == "/memfd:rundlet-init (deleted)"
    os.kill(pid, signal.SIGUSR1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
