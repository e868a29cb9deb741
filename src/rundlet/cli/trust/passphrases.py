"""Passphrases of signing keys: from the environment, else from the user, who has three tries."""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.trust.errors import AttemptsError, BadKeyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.context import Context

ROOT_VARIABLE = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE"
REPOSITORY_VARIABLE = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"
TRIES = 3
SHORTEST = 8
_ROOT_NOTE = (
    "A new root key is made. Whoever has it can replace all other keys of your repositories, and nothing replaces a\n"
    "lost one: choose a long passphrase, keep it in a password manager, and keep a copy of the key file offline.\n"
    "It is in {}."
)


class Passphrases:
    """Asks once for each kind of key and remembers the answer while the command runs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[str, str] = {}

    def existing(self, key_id: str, role: str, wrong: int) -> str:
        """Of a key that is here, after ``wrong`` wrong ones. Raises AttemptsError, BadKeyError, CommandError."""
        variable = _variable(role)
        value = os.environ.get(variable, "")
        if value:
            if wrong:
                raise BadKeyError(f"the passphrase in {variable} does not open the key {key_id[:7]}")
            return value
        shown = _shown(role)
        if not wrong and shown in self._known:
            return self._known[shown]
        if wrong >= TRIES:
            raise AttemptsError
        if wrong:
            self._say("Passphrase incorrect. Please retry.\n")
        answer = self._read(f"Enter passphrase for {shown} key with ID {key_id[:7]}: ", variable)
        self._known[shown] = answer
        return answer

    def new(self, key_id: str, role: str) -> str:
        """For a key that was just made. Raises AttemptsError, CommandError."""
        variable = _variable(role)
        value = os.environ.get(variable, "")
        if value:
            return value
        shown = _shown(role)
        if role == "root":
            self._say(_ROOT_NOTE.format(f"{self._context.config_directory}/trust/private") + "\n")
        elif shown in self._known:
            return self._known[shown]
        for _ in range(TRIES):
            first = self._read(f"Enter passphrase for new {shown} key with ID {key_id[:7]}: ", variable)
            if len(first) < SHORTEST:
                self._say(f"Passphrase is too short: {SHORTEST} characters at least.\n")
                continue
            if self._read(f"Repeat passphrase for new {shown} key with ID {key_id[:7]}: ", variable) == first:
                self._known[shown] = first
                return first
            self._say("Passphrases do not match. Please retry.\n")
        raise AttemptsError

    def _say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def _read(self, prompt: str, variable: str) -> str:
        if os.isatty(0):
            import getpass

            try:
                return getpass.getpass(prompt).strip()
            except EOFError as exc:
                raise CommandError("no passphrase given") from exc
        self._say(prompt)
        line = sys.stdin.readline()
        self._say("\n")
        if not line:
            raise CommandError(f"no passphrase given: standard input has ended (or set {variable})")
        return line.strip()


def _variable(role: str) -> str:
    return ROOT_VARIABLE if role == "root" else REPOSITORY_VARIABLE


def _shown(role: str) -> str:
    """Docker calls the keys of ``targets`` and ``snapshot`` the repository's."""
    return "repository" if role in ("targets", "snapshot", "") else role
