"""What a build borrows from this side while it runs: secrets, agents, other directories.

Everything hangs on an identifier that the client makes up; the engine forgets it all when the build ends.
"""

from __future__ import annotations

import os

from rundlet.cli.building.packing import Tree
from rundlet.cli.building.sources import is_remote, patterns_for
from rundlet.cli.exit import CommandError
from rundlet.client.wire import dumps, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from rundlet.client.session import Session

_SCHEMES = ("docker-image://", "target:")


class Lending:
    """The identifier, made when the first thing is lent; :meth:`query` is what /build is told."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._identifier = ""
        self._contexts: dict[str, str] = {}

    @property
    def identifier(self) -> str:
        if not self._identifier:
            self._identifier = os.urandom(16).hex()
        return self._identifier

    def query(self) -> dict[str, Any]:
        return {
            "session": self._identifier or None,
            "contexts": dumps(self._contexts) if self._contexts else None,
        }

    def secrets(self, secrets: Mapping[str, bytes]) -> None:
        """Hand contents over, by name; the engine keeps them in memory only."""
        if not secrets:
            return
        from binascii import b2a_base64

        body = {"secrets": {name: b2a_base64(value, newline=False).decode() for name, value in secrets.items()}}
        self._session.post(f"/rundlet/builds/{self.identifier}/secrets", body=body)

    def contexts(self, words: Iterable[str]) -> None:
        """``NAME=directory``, ``NAME=URL``, ``NAME=docker-image://…``, ``NAME=oci-layout://…``. Raises CommandError."""
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or not name or not value:
                raise CommandError(f"ERROR: failed to build: invalid context value: {word}, expected key=value")
            name = name.lower()
            if value.startswith("oci-layout://"):
                from rundlet.cli.building.layouts import layout_tree

                self._send(f"layout-{name}", layout_tree(value))
                self._contexts[name] = f"oci-layout:layout-{name}"
                continue
            if value.startswith(_SCHEMES) or is_remote(value):
                self._contexts[name] = value
                continue
            if not os.path.isdir(value):
                raise CommandError(
                    f"ERROR: failed to build: failed to get build context {name}: {value}: no such directory"
                )
            root = os.path.realpath(value)
            self._send_changed(name, Tree(root, patterns_for(root, "")))
            self._contexts[name] = f"input:{name}"

    def _send_changed(self, name: str, tree: Tree) -> None:
        """Of a large directory only what the engine has not from the last build that had it so."""
        from rundlet.cli.building.deltas import context_body

        told, body = context_body(self._session, tree, f"context:{name}")
        self._send_body(name, body, told)

    def _send(self, name: str, tree: Tree) -> None:
        self._send_body(name, tree.pack(), {})

    def _send_body(self, name: str, body: Iterator[bytes], told: Mapping[str, Any]) -> None:
        path = f"/rundlet/builds/{self.identifier}/contexts/{quote(name)}"
        response = self._session.request("POST", path, query=told, stream=body)
        response.read()
        self._session.release(response.connection)

    def caches(self, words: Iterable[str]) -> list[str]:
        """``--cache-from``: of ``type=local,src=DIRECTORY`` the directory is sent. One that isn't there is no error."""
        found = []
        for number, word in enumerate(words):
            source = local_directory(word, "src")
            if not source:
                found.append(word)
            elif os.path.isdir(source):
                root = os.path.realpath(source)
                self._send(f"cache-{number}", Tree(root, patterns_for(root, "")))
                found.append(f"type=local,src=input:cache-{number}")
        return found

    def images(self, references: Mapping[str, str]) -> None:
        """What names of images stand for in this build; a context that was given for a name goes first."""
        for name, reference in references.items():
            self._contexts.setdefault(name, f"docker-image://{reference}")

    def agents(self, agents: Mapping[str, str]) -> None:
        """Keep a line open for each agent: the engine speaks on it when a step does."""
        if not agents:
            return
        from rundlet.cli.building.agents import serve

        for name, path in agents.items():
            serve(self._session, f"/rundlet/builds/{self.identifier}/ssh/{quote(name)}", path)


def local_directory(word: str, key: str) -> str:
    """The directory of ``type=local,src=…`` or ``dest=…``; "" for other kinds of caches."""
    fields = dict(field.partition("=")[::2] for field in word.split(","))
    return fields.get(key, "") if fields.get("type") == "local" else ""
