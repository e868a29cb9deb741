"""What ``top`` shows of a process, read from /proc. See: proc_pid_stat(5)."""

import os
import time

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process(msgspec.Struct, frozen=True):
    """Times in clock ticks, ``start`` since boot; sizes in bytes."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    tpgid: int
    uid: int
    gid: int
    user: str
    flags: int
    state: str
    tty: str
    minor_faults: int
    major_faults: int
    cpu: int
    start: int
    priority: int
    nice: int
    threads: int
    virtual: int
    resident: int
    processor: int
    command: str
    name: str

    @property
    def age(self) -> float:
        """Seconds since its start."""
        with open("/proc/uptime") as file:
            return max(float(file.read().split()[0]) - self.start / TICKS, 0.001)

    @property
    def began(self) -> time.struct_time:
        return time.localtime(time.time() - self.age)

    @property
    def pages(self) -> int:
        """Of its virtual memory."""
        return self.virtual // _PAGE

    @property
    def waits_in(self) -> str:
        """The kernel's function that it sleeps in; "-" where it runs, or nobody may know."""
        try:
            with open(f"/proc/{self.pid}/wchan", encoding="ascii") as file:
                name = file.read()
        except OSError:
            return "-"
        return name if name not in ("", "0") else "-"

    @property
    def marked_state(self) -> str:
        """The state with ps's marks: niceness, a session's leader, threads, the terminal's foreground."""
        nice = "<" if self.nice < 0 else "N" if self.nice > 0 else ""
        leader = "s" if self.sid == self.pid else ""
        many = "l" if self.threads > 1 else ""
        foreground = "+" if self.tpgid == self.pgid else ""
        return f"{self.state}{nice}{leader}{many}{foreground}"


def read(pid: int, users: dict[int, str]) -> Process:
    """``users``: names by number. Raises: OSError, IndexError, ValueError when it ends meanwhile."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        text = file.read()
    name = text[text.index("(") + 1 : text.rindex(")")]
    words = text[text.rindex(")") + 2 :].split()
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        command = file.read().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    owner = os.stat(f"/proc/{pid}")
    return Process(
        pid=pid,
        ppid=int(words[1]),
        pgid=int(words[2]),
        sid=int(words[3]),
        tpgid=int(words[5]),
        uid=owner.st_uid,
        gid=owner.st_gid,
        user=users.get(owner.st_uid, str(owner.st_uid)),
        flags=int(words[6]),
        state=words[0],
        tty=_tty(int(words[4])),
        minor_faults=int(words[7]),
        major_faults=int(words[9]),
        cpu=int(words[11]) + int(words[12]),
        start=int(words[19]),
        priority=int(words[15]),
        nice=int(words[16]),
        threads=int(words[17]),
        virtual=int(words[20]),
        resident=int(words[21]) * _PAGE,
        processor=int(words[36]),
        command=command or f"[{name}]",
        name=name,
    )


def _tty(number: int) -> str:
    major = number >> 8 & 0xFFF
    minor = number & 0xFF | number >> 12 & 0xFFF00
    if not number:
        return "?"
    return f"pts/{minor + (major - 136) * 256}" if 136 <= major <= 143 else f"tty{minor}"
