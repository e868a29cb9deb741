"""``rundlet login``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.credentials import config_key
from rundlet.cli.exit import CommandError
from rundlet.cli.reference import DOCKER_HUB, INDEX_SERVER

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
    username, password = _ask(call)
    body = {"username": username, "password": password, "serveraddress": server}
    answer = call.context.session.post("/auth", body=body) or {}
    from rundlet.cli.credential_store import store

    warning = store(call.context, server, username, password, str(answer.get("IdentityToken") or ""))
    if warning:
        call.context.warn(warning)
    call.context.say(answer.get("Status") or "Login Succeeded")
    return 0


def _ask(call: Invocation) -> tuple[str, str]:
    """User name and password from the flags, standard input or the terminal. Raises CommandError."""
    flags = call.flags
    if flags["password-stdin"]:
        if flags["password"]:
            raise CommandError("--password and --password-stdin are mutually exclusive")
        if not flags["username"]:
            raise CommandError("the --password-stdin option requires --username to be set")
        text = sys.stdin.read()
        return flags["username"].strip(), text.removesuffix("\n").removesuffix("\r")
    if flags["password"]:
        call.context.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    username, password = flags["username"].strip(), flags["password"]
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
