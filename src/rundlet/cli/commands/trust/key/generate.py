"""``rundlet trust key generate``."""

from __future__ import annotations

import os
import re

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "NAME"
SHORT = "Generate and load a signing key-pair"
ARGS = (1, 1)
FLAGS = (("dir", "", "string", "Directory to generate key in, defaults to current directory"),)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def check_name(kind: str, name: str) -> None:
    """Raises CommandError."""
    if not _NAME.fullmatch(name):
        raise CommandError(
            f'{kind} name "{name}" must start with lowercase alphanumeric characters and can include "-" or "_" after '
            "the first character"
        )


def run(call: Invocation) -> int:
    from rundlet.cli.trust.authoring import key_store
    from rundlet.cli.trust.names import explained
    from rundlet.cli.trust.passphrases import Passphrases
    from rundlet.trust.keyfile import encode_public
    from rundlet.trust.keys import generate
    from rundlet.util.fs import write_atomic

    name = call.args[0]
    directory = call.flags["dir"] or os.getcwd()
    check_name("key", name)
    if not os.path.isdir(directory):
        raise CommandError(f'public key path does not exist: "{directory}"')
    path = os.path.join(directory, f"{name}.pub")
    if os.path.lexists(path):
        raise CommandError(f'public key file already exists: "{path}"')
    call.context.say(f"Generating key for {name}...")
    passphrases = Passphrases(call.context)
    with explained("", f"failed to generate key for {name}: "):
        key = generate(name)
        try:
            key_store(call.context, passphrases).add(key, passphrases.new(key.id, name))
            write_atomic(path, encode_public(key.public, name), mode=0o600)
        except OSError as exc:
            raise CommandError(f"failed to write {exc.filename or path}: {(exc.strerror or '').lower()}") from exc
    call.context.say(f"Successfully generated and loaded private key. Corresponding public key available: {path}")
    return 0
