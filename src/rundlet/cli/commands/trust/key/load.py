"""``rundlet trust key load``."""

from __future__ import annotations

import os

from rundlet.cli.commands.trust.key.generate import check_name
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] KEYFILE"
SHORT = "Load a private key file for signing"
ARGS = (1, 1)
FLAGS = (("name", "", "string", 'Name for the loaded key (default "signer")', "signer"),)


def run(call: Invocation) -> int:
    from rundlet.cli.trust.authoring import key_store
    from rundlet.cli.trust.names import explained
    from rundlet.cli.trust.passphrases import Passphrases
    from rundlet.trust import keyfile
    from rundlet.trust.errors import BadKeyError
    from rundlet.trust.keys import PrivateKey

    path, name = call.args[0], call.flags["name"]
    check_name("key", name)
    call.context.say(f'Loading key from "{path}"...')
    data = _read(path)
    passphrases = Passphrases(call.context)
    store = key_store(call.context, passphrases)
    with explained("", f"error importing key from {path}: "):
        try:
            private = keyfile.is_private(keyfile.parse(data))
        except BadKeyError:
            private = False
        if not private:
            raise BadKeyError(
                f"provided file {path} is not a supported private key - to add a signer's public key use docker trust "
                "signer add"
            )
        block = keyfile.parse(data)
        found = store.unlock(data, os.path.basename(path))
        key = PrivateKey(found.key, block.role or name, block.gun)
        store.add(key, passphrases.new(key.id, key.role))
    call.context.say(f"Successfully imported key from {path}")
    return 0


def _read(path: str) -> bytes:
    """Raises CommandError; a key that others can read is refused."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise CommandError(
                    f"refusing to load key from {path}: private key file {path} must not be readable or writable by "
                    "others"
                )
            return file.read(1 << 20)
    except OSError as exc:
        raise CommandError(f"refusing to load key from {path}: stat {path}: {(exc.strerror or '').lower()}") from exc
