"""``docker-credential-rundlet``: registry passwords for Docker clients whose config.json says ``credsStore: rundlet``.

They are kept by the desktop's secret service where ``secret-tool`` and a session bus are there, else in the kernel's
persistent keyring. The protocol is that of docker-credential-helpers: a verb, JSON or a server's URL on standard input,
errors on standard output with exit status 1.
"""

from __future__ import annotations

import os
import sys

from rundlet.client.wire import DecodeError, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Keeper(Protocol):
        """Where secrets are; values are JSON of user name and secret."""

        def put(self, server: str, value: str) -> None: ...

        def get(self, server: str) -> str | None: ...

        def remove(self, server: str) -> bool: ...

        def servers(self) -> list[str]: ...


PROGRAM = "docker-credential-rundlet"
NOT_FOUND = "credentials not found in native keychain"
_PREFIX = "rundlet:credential:"


class HelperError(Exception):
    """What goes to standard output before exit status 1."""


class KernelKeyring:
    """Keys of the user's persistent keyring."""

    def __init__(self) -> None:
        from rundlet.linux import keyring

        self._kernel = keyring
        self._keyring = keyring.open_keyring()

    def put(self, server: str, value: str) -> None:
        self._kernel.put(self._keyring, _PREFIX + server, value.encode())

    def get(self, server: str) -> str | None:
        key = self._kernel.keys(self._keyring, _PREFIX).get(_PREFIX + server)
        return None if key is None else self._kernel.read(key).decode()

    def remove(self, server: str) -> bool:
        key = self._kernel.keys(self._keyring, _PREFIX).get(_PREFIX + server)
        if key is not None:
            self._kernel.remove(self._keyring, key)
        return key is not None

    def servers(self) -> list[str]:
        return sorted(name.removeprefix(_PREFIX) for name in self._kernel.keys(self._keyring, _PREFIX))


class SecretService:
    """libsecret's ``secret-tool``. It can't list without secrets, so a secret of our own holds the list of servers."""

    def _run(self, *arguments: str, value: str = "") -> str | None:
        import subprocess

        done = subprocess.run(["secret-tool", *arguments], input=value, capture_output=True, text=True, check=False)
        if done.returncode and done.stderr.strip():
            raise HelperError(done.stderr.strip())
        return None if done.returncode else done.stdout

    def _attributes(self, server: str) -> tuple[str, ...]:
        return ("application", PROGRAM, "server", server)

    def put(self, server: str, value: str) -> None:
        self._store(server, value)
        self._store("", dumps(sorted({*self.servers(), server})))

    def _store(self, server: str, value: str) -> None:
        label = f"Registry login for {server}" if server else "Registries with logins"
        if self._run("store", f"--label={label}", *self._attributes(server), value=value) is None:
            raise HelperError("the secret service did not store the credentials")

    def get(self, server: str) -> str | None:
        return self._run("lookup", *self._attributes(server))

    def remove(self, server: str) -> bool:
        if self.get(server) is None:
            return False
        self._run("clear", *self._attributes(server))
        self._store("", dumps([name for name in self.servers() if name != server]))
        return True

    def servers(self) -> list[str]:
        found = loads(self._run("lookup", *self._attributes("")) or "[]")
        return [str(name) for name in found]


def _keeper() -> Keeper:
    path = os.environ.get("PATH", "").split(":")
    if os.environ.get("DBUS_SESSION_BUS_ADDRESS") and any(os.access(f"{p}/secret-tool", os.X_OK) for p in path if p):
        return SecretService()
    return KernelKeyring()


def _store(keeper: Keeper, text: str) -> str:
    try:
        given = loads(text)
    except DecodeError as exc:
        raise HelperError("invalid credentials: not JSON") from exc  # what it is may hold a secret
    server, user = _field(given, "ServerURL"), _field(given, "Username")
    if not server:
        raise HelperError("no credentials server URL")
    if not user:
        raise HelperError("no credentials username")
    keeper.put(server, dumps({"Username": user, "Secret": _field(given, "Secret")}))
    return ""


def _field(given: Any, name: str) -> str:
    value = given.get(name, "") if isinstance(given, dict) else ""
    return value if isinstance(value, str) else ""


def _get(keeper: Keeper, text: str) -> str:
    server = _server(text)
    value = keeper.get(server)
    if value is None:
        raise HelperError(NOT_FOUND)
    return dumps({"ServerURL": server, **loads(value)}) + "\n"


def _erase(keeper: Keeper, text: str) -> str:
    if not keeper.remove(_server(text)):
        raise HelperError(NOT_FOUND)
    return ""


def _server(text: str) -> str:
    if not text.strip():
        raise HelperError("no credentials server URL")
    return text.strip()


def _list(keeper: Keeper, _text: str) -> str:
    found = {server: keeper.get(server) for server in keeper.servers()}
    return dumps({server: loads(value)["Username"] for server, value in found.items() if value is not None}) + "\n"


_VERBS = {"store": _store, "get": _get, "erase": _erase, "list": _list}


def main(argv: list[str]) -> int:
    """One verb; returns the exit status."""
    if argv in (["version"], ["--version"]):
        from rundlet import __version__

        sys.stdout.write(f"{PROGRAM} (rundlet) v{__version__}\n")
        return 0
    action = _VERBS.get(argv[0]) if len(argv) == 1 else None
    if action is None:
        sys.stdout.write(f"Usage: {PROGRAM} <store|get|erase|list|version>\n")
        return 1
    try:
        text = "" if action is _list else sys.stdin.read()
        sys.stdout.write(action(_keeper(), text))
    except HelperError as exc:
        sys.stdout.write(f"{exc}\n")
        return 1
    except OSError as exc:
        sys.stdout.write(f"the kernel's keyring: {exc.strerror}\n")
        return 1
    return 0


def script() -> None:
    """The program."""
    sys.exit(main(sys.argv[1:]))
