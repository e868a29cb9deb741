"""Secrets in the kernel: keys of type ``user`` in the caller's persistent keyring. See: keyrings(7), keyctl(2).

They are memory that is never swapped, seen by the same user only, and outlive the session. They do not outlive the
machine's next boot, nor the time of ``/proc/sys/kernel/keys/persistent_keyring_expiry`` (three days) without any use.
"""

import ctypes
import os
import struct
from typing import Final

from rundlet.linux import libc

_KEYCTL_SETPERM: Final = 5
_KEYCTL_DESCRIBE: Final = 6
_KEYCTL_LINK: Final = 8
_KEYCTL_UNLINK: Final = 9
_KEYCTL_READ: Final = 11
_KEYCTL_GET_PERSISTENT: Final = 22
_PROCESS_KEYRING: Final = -2
_USER_KEYRING: Final = -4
_POSSESSOR_AND_VIEW: Final = 0x3F01_0000
_LIMIT: Final = 32767
"""Bytes of a key's payload, by the kernel."""


def open_keyring() -> int:
    """The user's persistent keyring, made by the first use; the user keyring where the kernel has none. Raises OSError.

    It is linked to this process's own keyring: only who possesses a key may read it.
    """
    try:
        return libc.call("keyctl", _KEYCTL_GET_PERSISTENT, -1, _PROCESS_KEYRING)
    except OSError:
        libc.call("keyctl", _KEYCTL_LINK, _USER_KEYRING, _PROCESS_KEYRING)
        return _USER_KEYRING


def put(keyring: int, name: str, secret: bytes) -> None:
    """Store ``secret`` as ``name``, in place of what was there. Raises OSError: EDQUOT beyond the user's quota."""
    key = libc.call("add_key", b"user\0", os.fsencode(name) + b"\0", secret, len(secret), keyring)
    libc.call("keyctl", _KEYCTL_SETPERM, key, _POSSESSOR_AND_VIEW)


def read(key: int) -> bytes:
    """The content of a key: a secret, or a keyring's keys. Raises OSError."""
    buffer = ctypes.create_string_buffer(_LIMIT)
    size = libc.call("keyctl", _KEYCTL_READ, key, buffer, _LIMIT)
    if size > _LIMIT:
        # A keyring of thousands of keys.
        buffer = ctypes.create_string_buffer(size)
        size = min(size, libc.call("keyctl", _KEYCTL_READ, key, buffer, size))
    return buffer.raw[:size]


def keys(keyring: int, prefix: str) -> dict[str, int]:
    """The keys of type ``user`` whose names begin with ``prefix``, by name. Raises OSError."""
    data = read(keyring)
    found: dict[str, int] = {}
    for (key,) in struct.iter_unpack("=i", data[: len(data) // 4 * 4]):
        buffer = ctypes.create_string_buffer(8192)
        try:
            size = libc.call("keyctl", _KEYCTL_DESCRIBE, key, buffer, len(buffer))
        except OSError:
            continue  # it has expired, or is another's
        kind, *_, name = buffer.raw[: size - 1].decode("utf-8", "surrogateescape").split(";", 4)
        if kind == "user" and name.startswith(prefix):
            found[name] = key
    return found


def remove(keyring: int, key: int) -> None:
    """Take the key away; nothing else links to it, so its content goes with it. Raises OSError."""
    libc.call("keyctl", _KEYCTL_UNLINK, key, keyring)
