"""``linux.intelRdt``: a share of the processors' caches and of the memory's bandwidth, and counting of what is used.

A class of service is a directory of resctrl, whose shares are the lines of its ``schemata``. One that somebody made
beforehand belongs to them: it is joined, or refused where its shares are others than those that are asked for.
See: OCI runtime-spec, config-linux.md, "IntelRdt"; Documentation/filesystems/resctrl.rst.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rundlet.runtime.command.errors import CommandError

_KIND: Final = "resctrl"
_ROOT_CLASS: Final = "/"
_MOUNTS: Final = "/proc/self/mountinfo"


class Classes(NamedTuple):
    """What a container joins: directories of resctrl, and those of them that were made for it, the innermost first."""

    joined: tuple[str, ...]
    made: tuple[str, ...]

    def join_fds(self) -> tuple[int, ...]:
        """Files that "0" is written to, by whoever joins with all that it starts from then on. Raises: OSError."""
        return tuple(os.open(f"{directory}/tasks", os.O_WRONLY | os.O_CLOEXEC) for directory in self.joined)


def check(linux: Mapping[str, Any]) -> None:
    """Raises: CommandError."""
    wanted = linux.get("intelRdt") or {}
    name = wanted.get("closID") or ""
    if name != _ROOT_CLASS and ("/" in name or name in (".", "..")):
        raise CommandError(f"invalid intelRdt.closID {name!r}")
    for line in _lines(wanted):
        if "\n" in line or ":" not in line:
            raise CommandError(f"invalid intelRdt schema {line!r}")


def mounted(path: str = _MOUNTS) -> str:
    """Where resctrl is. Raises: CommandError for a machine without."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            if after.split(" ", 1)[0] == _KIND:
                return before.split(" ")[4]
    raise CommandError("intelRdt is specified in config, but Intel RDT is not enabled")


def create(wanted: Mapping[str, Any], container: str, root: str) -> Classes:
    """Make or find the class. Raises: CommandError, OSError; nothing is left then."""
    name, lines = wanted.get("closID") or "", _lines(wanted)
    directory = root if name == _ROOT_CLASS else f"{root}/{name or container}"
    made: list[str] = []
    try:
        if not os.path.isdir(directory):
            if name and not lines:
                raise CommandError(f"intelRdt.closID {name!r}: there is no such class of service")
            os.mkdir(directory, 0o755)
            made.append(directory)
            for line in lines:
                _share(root, directory, line)
        else:
            _compare(directory, name, lines)
        joined = [directory]
        if wanted.get("enableMonitoring"):
            joined.append(f"{directory}/mon_groups/{container}")
            os.mkdir(joined[-1], 0o755)
            made.insert(0, joined[-1])
    except BaseException:
        remove(made)
        raise
    return Classes(tuple(joined), tuple(made))


def remove(made: Sequence[str]) -> None:
    """Raises: OSError."""
    for directory in made:
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass


def _lines(wanted: Mapping[str, Any]) -> list[str]:
    """The shares that are asked for; the newer list replaces both of the older words."""
    older = [wanted.get("l3CacheSchema") or "", wanted.get("memBwSchema") or ""]
    return list(wanted.get("schemata") or [line for line in older if line])


def _share(root: str, directory: str, line: str) -> None:
    try:
        _write(f"{directory}/schemata", line + "\n")
    except OSError as exc:
        said = _read(f"{root}/info/last_cmd_status").strip()
        raise CommandError(f"intelRdt schema {line!r}: {said or exc.strerror}") from exc


def _compare(directory: str, name: str, lines: Sequence[str]) -> None:
    have = dict(_parsed(line) for line in _read(f"{directory}/schemata").splitlines() if ":" in line)
    for line in lines:
        resource, shares = _parsed(line)
        if not shares.items() <= have.get(resource, {}).items():
            raise CommandError(f"intelRdt.closID {name!r}: its schemata are others than {line!r}")


def _parsed(line: str) -> tuple[str, dict[str, str]]:
    """``L3:0=f;1=0f`` as the resource and its shares; the kernel writes numbers with other zeros than people."""
    resource, _, shares = line.partition(":")
    pairs = (item.partition("=") for item in shares.split(";"))
    return resource.strip(), {key.strip(): value.strip().lower().lstrip("0") for key, _, value in pairs}


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
