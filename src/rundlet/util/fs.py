"""Writing files so that a reader sees the old or the new content, never a part, whatever is killed when."""

import os


def failure(error: OSError) -> str:
    """What the machine says, in Docker's form: ``/path: no space left on device``; names that are no text made one."""
    said = (error.strerror or str(error)).lower()
    if not isinstance(error.filename, str | bytes):
        return said
    return f"{os.fsencode(error.filename).decode(errors='replace')}: {said}"


def sync_directory(path: str) -> None:
    """Make a rename inside ``path`` durable against loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: str, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace ``path`` by ``data``: temporary name beside it, fsync (when ``durable``), rename.

    ``mode`` is the new file's permission bits, whatever the umask. Raises OSError; the old file is then untouched
    and no temporary file is left.
    """
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass
        raise
    if durable:
        sync_directory(os.path.dirname(path) or ".")


def remove_tree(path: str) -> None:
    """Remove a directory and all below it; absent is fine. Never follows a symbolic link or enters a mount."""
    import shutil

    try:
        device = os.lstat(path).st_dev
    except FileNotFoundError:
        return
    for directory, names, _files in os.walk(path, followlinks=False):
        for name in names:
            full = os.path.join(directory, name)
            if os.lstat(full).st_dev != device:
                raise OSError(f"refusing to remove {path}: {full} is a mount point")
    shutil.rmtree(path)
