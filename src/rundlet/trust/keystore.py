"""The directory of private keys that Docker and Rundlet share: ``<trust>/private/<key ID>.key``, mode 0600.

Old versions of Docker filed keys in ``private/root_keys`` and ``private/tuf_keys/<repository>``; those are found too.
"""

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from rundlet.trust import keyfile
from rundlet.trust.errors import BadKeyError, KeyNotFoundError, PassphraseError
from rundlet.trust.keyfile import Block
from rundlet.trust.keys import PrivateKey
from rundlet.util.fs import write_atomic

_SUFFIX: Final = ".key"

Ask = Callable[[str, str, int], str]
"""The passphrase of a key by its ID and role; the number counts the wrong ones so far. Raises when that's enough."""


class KeyFile(NamedTuple):
    """A key that is here: what its file says about it, without its passphrase."""

    id: str
    path: str
    role: str
    gun: str


class KeyStore:
    """``directory`` is Docker's ``<config>/trust``. ``ask`` gives passphrases, ``warn`` hears of careless files."""

    def __init__(self, directory: str, ask: Ask, warn: Callable[[str], None]) -> None:
        self._directory = f"{directory}/private"
        self._ask = ask
        self._warn = warn
        self._open: dict[str, PrivateKey] = {}
        self._found: dict[str, KeyFile] | None = None

    def list(self, role: str = "") -> list[KeyFile]:
        """All keys, or those of ``role``, by ID."""
        return [item for _, item in sorted(self._files().items()) if not role or item.role == role]

    def has(self, key_id: str) -> bool:
        return key_id in self._open or key_id in self._files()

    def load(self, key_id: str) -> PrivateKey:
        """Asks for the passphrase. Raises KeyNotFoundError, BadKeyError, and what ``ask`` raises."""
        found = self._open.get(key_id)
        if found is not None:
            return found
        file = self._files().get(key_id)
        if file is None:
            raise KeyNotFoundError(key_id)
        data = self._read(file.path)
        key = self.unlock(data, key_id)
        if key.id != key_id:
            raise BadKeyError(f"{file.path} holds the key {key.id}")
        self._open[key_id] = key
        return key

    def unlock(self, data: bytes, name: str) -> PrivateKey:
        """The key in a file's content. Raises BadKeyError, and what ``ask`` raises."""
        block = keyfile.parse(data)
        if not block.encrypted:
            return keyfile.decode(data, "")
        wrong = 0
        while True:
            try:
                return keyfile.decode(data, self._ask(name, block.role, wrong))
            except PassphraseError:
                wrong += 1

    def add(self, key: PrivateKey, passphrase: str) -> None:
        """Raises OSError."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        write_atomic(f"{self._directory}/{key.id}{_SUFFIX}", keyfile.encode(key, passphrase), mode=0o600)
        self._open[key.id] = key
        self._found = None

    def _files(self) -> dict[str, KeyFile]:
        if self._found is None:
            self._found = {}
            for parent, _, names in os.walk(self._directory):
                for name in names:
                    if name.endswith(_SUFFIX):
                        self._note(f"{parent}/{name}")
        return self._found

    def _note(self, path: str) -> None:
        assert self._found is not None
        # Older names end with the role: <ID>_root.key.
        key_id, _, role = os.path.basename(path).removesuffix(_SUFFIX).partition("_")
        try:
            block: Block | None = keyfile.parse(self._read(path))
        except (BadKeyError, OSError):
            block = None  # said when this very key is asked for
        legacy = path.removeprefix(f"{self._directory}/tuf_keys/").rpartition("/")[0] if "/tuf_keys/" in path else ""
        role = (block.role if block else "") or role or ("root" if "/root_keys/" in path else "")
        self._found[key_id] = KeyFile(key_id, path, role, (block.gun if block else "") or legacy)

    def _read(self, path: str) -> bytes:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                self._warn(f"WARNING: others can read the private key {path} (chmod 600 {path})")
            return file.read(keyfile.FILE_LIMIT)
