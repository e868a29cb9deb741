"""``rundlet login``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.credentials import config_key, lookup
from rundlet.cli.exit import CommandError
from rundlet.cli.reference import DOCKER_HUB, INDEX_SERVER
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [SERVER]"
SHORT = "Authenticate to a registry"
LONG = "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified."
ARGS = (0, 1)
FLAGS = (
    ("password", "p", "string", "Password or Personal Access Token (PAT)"),
    ("password-stdin", "", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
    ("username", "u", "string", "Username"),
)


def server_key(args: list[str]) -> str:
    """The configuration's key for a SERVER argument; Docker Hub without one."""
    if not args or args[0] in (DOCKER_HUB, INDEX_SERVER):
        return INDEX_SERVER
    return config_key(args[0].removeprefix("https://").removeprefix("http://").partition("/")[0])


def run(call: Invocation) -> int:
    server = server_key(call.args)
    _check(call)
    if not call.given("username") and not call.given("password") and _again(call, server):
        return 0
    username, password = _ask(call)
    _login(call, server, username, password)
    return 0


def _again(call: Invocation, server: str) -> bool:
    """Log in with what is stored; False when nothing is, or when it holds no longer."""
    try:
        known = lookup(call.context, server)
    except CommandError:
        return False
    if not (known.get("username") and known.get("password")):
        return False
    call.context.warn(f"Authenticating with existing credentials... [Username: {known['username']}]")
    try:
        _login(call, server, known["username"], known["password"])
    except ApiError as exc:
        told = "Stored credentials invalid or expired"
        call.context.warn(told if exc.status == 401 else f"Login did not succeed, error: {exc}")
        return False
    return True


def _login(call: Invocation, server: str, username: str, password: str) -> None:
    """Raises ApiError, CommandError."""
    body = {"username": username, "password": password, "serveraddress": server}
    answer = call.context.session.post("/auth", body=body) or {}
    from rundlet.cli.credential_store import store

    warning = store(call.context, server, username, password, str(answer.get("IdentityToken") or ""))
    if warning:
        call.context.warn(warning)
    call.context.say(answer.get("Status") or "Login Succeeded")


def _check(call: Invocation) -> None:
    """Raises CommandError for flags that do not go together."""
    flags = call.flags
    if call.given("password-stdin"):
        if call.given("password"):
            raise CommandError("conflicting options: cannot specify both --password and --password-stdin")
        if not call.given("username"):
            raise CommandError("the --password-stdin option requires --username to be set")
    for name in ("username", "password"):
        if call.given(name) and not flags[name]:
            raise CommandError(f"{name} is empty")


def _ask(call: Invocation) -> tuple[str, str]:
    """User name and password from the flags, standard input or the terminal. Raises CommandError."""
    flags = call.flags
    username, password = flags["username"].strip(), flags["password"]
    if password:
        call.context.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if flags["password-stdin"]:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not (username and password) and not os.isatty(0):
        raise CommandError("Error: Cannot perform an interactive login from a non TTY device")
    if not username:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        username = sys.stdin.readline().strip()
        if not username:
            raise CommandError("Error: Non-null Username Required")
    if not password:
        import getpass

        password = getpass.getpass("Password: ")
        if not password:
            raise CommandError("Error: Password Required")
    return username, password
