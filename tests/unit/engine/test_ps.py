"""What ``top`` understands of ps(1), and what it shows: as procps does."""

import shutil
import subprocess

import pytest

from rundlet.engine.containers import psoptions, psprocesses
from rundlet.engine.containers.pscolumns import COLUMNS
from rundlet.errors import InvalidParameterError


# As procps 4.0 prints them.
@pytest.mark.parametrize(
    ("options", "titles"),
    [
        ("", "UID PID PPID C STIME TTY TIME CMD"),
        ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("ef", "UID PID PPID C STIME TTY TIME CMD"),
        ("-e -f", "UID PID PPID C STIME TTY TIME CMD"),
        ("-efww", "UID PID PPID C STIME TTY TIME CMD"),
        ("-e", "PID TTY TIME CMD"),
        ("-A", "PID TTY TIME CMD"),
        ("-eF", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ("-f -F", "UID PID PPID C SZ RSS PSR STIME TTY TIME CMD"),
        ("-el", "F S UID PID PPID C PRI NI ADDR SZ WCHAN TTY TIME CMD"),
        ("-elf", "F S UID PID PPID C PRI NI ADDR SZ WCHAN STIME TTY TIME CMD"),
        ("-ely", "S UID PID PPID C PRI NI RSS SZ WCHAN TTY TIME CMD"),
        ("-elyf", "S UID PID PPID C PRI NI RSS SZ WCHAN STIME TTY TIME CMD"),
        ("-ej", "PID PGID SID TTY TIME CMD"),
        ("-ejf", "UID PID PPID PGID SID C STIME TTY TIME CMD"),
        ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("-aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("auxww --sort -rss", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        ("ax", "PID TTY STAT TIME COMMAND"),
        ("-x", "PID TTY STAT TIME COMMAND"),
        ("-ax", "PID TTY STAT TIME COMMAND"),
        ("axj", "PPID PID PGID SID TTY TPGID STAT UID TIME COMMAND"),
        ("axl", "F UID PID PPID PRI NI VSZ RSS WCHAN STAT TTY TIME COMMAND"),
        ("-eo pid,tty,comm=X", "PID TT X"),
        ("-eopid,comm", "PID COMMAND"),
        ("axo pid,state", "PID S"),
        ("-o pid -o rss", "PID RSS"),
        ("--format=pid,nice", "PID NI"),
        ("-f -o pid,f", "PID F"),
        ("-eO rss", "PID RSS S TTY TIME COMMAND"),
        ("ax k -pid o pid", "PID"),
    ],
)
def test_titles(options: str, titles: str) -> None:
    assert " ".join(title for title, _ in psoptions.parse(options).columns) == titles


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("aux -f", "error: conflicting format options"),
        ("-eo pid -l", "error: conflicting format options"),
        ("-p 1", "ps option '-p' is not supported by Rundlet's top"),
        ("-eH", "ps option '-eH' is not supported by Rundlet's top"),
        ("--forest", "ps option '--forest' is not supported by Rundlet's top"),
        ("-", "ps option '-' is not supported by Rundlet's top"),
        ("-eo pid,colour", "unknown ps column: colour"),
        ("-eo comm", "Couldn't find PID field in ps output"),
        ("-eo comm=PID", 'specifying "comm=PID" is not allowed'),
        ("aux --sort=colour", "error: unknown sort specifier: colour"),
    ],
)
def test_refusals(options: str, said: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        psoptions.parse(options)
    assert str(caught.value) == said


def test_values_are_those_of_ps() -> None:
    if shutil.which("ps") is None:
        pytest.skip("ps is not installed")
    names = "pid ppid pgid sid tpgid uid gid ni pri priority nlwp sz vsz f tty s stat comm bsdtime time args".split()
    with subprocess.Popen(["nice", "-n", "5", "sleep", "1000"], start_new_session=True) as program:
        try:
            found = psprocesses.read(program.pid, {})
            while (found.name, found.state) != ("sleep", "S"):
                found = psprocesses.read(program.pid, {})
            for name in names:
                asked = ["ps", "-q", str(program.pid), "-ww", "-o", f"{name}="]
                shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
                assert COLUMNS[name][1](found) == shown, name
        finally:
            program.kill()
