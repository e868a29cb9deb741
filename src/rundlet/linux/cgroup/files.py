"""Writes to cgroup files, and the waits that belong to them."""

import errno
import os
import time
from collections.abc import Callable
from typing import Final

# What it means when the kernel, or our rights, lack a feature: the limit is dropped with a warning unless asked for.
LACKING: Final = frozenset({errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP, errno.ENXIO})


def write(path: str, value: str) -> None:
    """Write ``value`` in one piece. Raises: OSError with the path."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from None
    finally:
        os.close(fd)


def write_lines(path: str, lines: list[str]) -> None:
    """Write each line in a call of its own, as most cgroup files want them."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for line in lines:
            os.write(fd, line.encode())
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, path) from None
    finally:
        os.close(fd)


def wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    """Look again and again, at growing distances, for at most ``timeout`` seconds; says whether it came true."""
    deadline = time.monotonic() + timeout
    pause = 0.0005
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True


def below(directory: str) -> list[str]:
    """The cgroups beneath ``directory`` (of cgroups only), deepest first, without itself."""
    found: list[str] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found += below(entry.path)
                    found.append(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as exc:
        if exc.errno != errno.ENODEV:  # removed while we looked
            raise
    return found
