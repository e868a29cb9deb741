"""Registry credentials from Docker's configuration: ``auths``, ``credsStore`` and ``credHelpers``.

A configuration that names no helper and holds no credentials gets the platform's own helper where that is installed, as
with Docker's command line: ``pass`` where there is pass(1), else ``secretservice``.
"""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.reference import DOCKER_HUB, INDEX_SERVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context

TOKEN_USER = "<token>"  # noqa: S105 - the user name by which helpers mark an identity token
NOBODY = "e30="
"""What :func:`encode` makes of no credentials; base64 is a library that takes a while to load."""
NOT_FOUND = "credentials not found in native keychain"
_DOING = {"get": "getting", "store": "storing", "erase": "erasing", "list": "listing"}


def config_key(domain: str) -> str:
    """The key under which Docker files a registry's credentials."""
    return INDEX_SERVER if domain in (DOCKER_HUB, "index.docker.io", "registry-1.docker.io") else domain


def contains_auth(config: dict[str, Any]) -> bool:
    """Whether the configuration says where credentials are, or has some."""
    return bool(config.get("auths") or config.get("credsStore") or config.get("credHelpers"))


def detected_store() -> str:
    """The platform's helper, if its program is on PATH; else empty."""
    wanted = "osxkeychain" if sys.platform == "darwin" else "pass" if _on_path("pass") else "secretservice"
    return wanted if _on_path(f"docker-credential-{wanted}") else ""


def _on_path(program: str) -> bool:
    directories = os.environ.get("PATH", "").split(":")
    return any(os.access(f"{directory}/{program}", os.X_OK) for directory in directories if directory)


def with_detected_store(config: dict[str, Any]) -> dict[str, Any]:
    """``config``, with ``credsStore`` where it says nothing and there is a helper."""
    store = "" if contains_auth(config) else detected_store()
    return {**config, "credsStore": store} if store else config


def helper_for(config: dict[str, Any], server: str) -> str:
    """The suffix of the ``docker-credential-…`` program in charge of ``server``; empty for the file."""
    return str(config.get("credHelpers", {}).get(server) or config.get("credsStore") or "")


def call_helper(name: str, action: str, data: str) -> str:
    """Run a credential helper; what it says besides is the user's to read. Raises CommandError with its answer."""
    import subprocess

    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, action], input=data.encode(), stdout=subprocess.PIPE, check=False)
    except OSError as exc:
        known = isinstance(exc, FileNotFoundError | PermissionError)
        why = "executable file not found in $PATH" if known else (exc.strerror or "").lower()
        raise HelperError(action, f'exec: "{program}": {why}') from exc
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        if output == NOT_FOUND:
            return ""
        raise HelperError(action, _ended(done.returncode), output)
    return output


class HelperError(CommandError):
    """A credential helper did not do what it was asked for."""

    def __init__(self, action: str, why: str, output: str = "") -> None:
        super().__init__(f"error {_DOING[action]} credentials - err: {why}, out: `{output}`")


def _ended(code: int) -> str:
    if code > 0:
        return f"exit status {code}"
    import signal

    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"


def _told(name: str, action: str, text: str) -> dict[str, str]:
    """What a helper's answer says: texts by name. Raises HelperError, which does not show what may be a secret."""
    from rundlet.client.wire import DecodeError, loads

    try:
        found = loads(text) if text else {}
    except DecodeError as exc:
        raise HelperError(action, f"the answer of docker-credential-{name} is not JSON") from exc
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise HelperError(action, f"the answer of docker-credential-{name} is not an object of texts")
    return found


def from_environment() -> dict[str, Any]:
    """The ``auths`` of ``DOCKER_AUTH_CONFIG`` (JSON, as in config.json), which come before what is stored. What can't
    be read is warned of and left out, as by Docker's command line."""
    text = os.environ.get("DOCKER_AUTH_CONFIG", "")
    if not text:
        return {}
    from rundlet.client.wire import DecodeError, loads

    try:
        value = loads(text.encode())
        if not isinstance(value, dict) or not isinstance(value.get("auths"), dict):
            raise DecodeError('no object with "auths"')
    except DecodeError as exc:
        sys.stderr.write(f"Failed to create credential store from DOCKER_AUTH_CONFIG:  {exc}\n")
        return {}
    return {str(server): entry for server, entry in value["auths"].items() if isinstance(entry, dict)}


def lookup(context: Context, server: str) -> dict[str, str]:
    """{username, password, identitytoken, serveraddress} for a key of :func:`config_key`; empty when unknown.

    Raises CommandError.
    """
    found = _from_auths(from_environment(), server, "DOCKER_AUTH_CONFIG")
    if found:
        return found
    config = with_detected_store(context.config)
    helper = helper_for(config, server)
    if helper:
        try:
            told = _told(helper, "get", call_helper(helper, "get", server))
        except CommandError:
            if contains_auth(context.config):
                raise
            told = {}  # nobody asked for this helper: without a desktop or a key it has nothing to say
        name, secret = told.get("Username", ""), told.get("Secret", "")
        if not name and not secret:
            return {}
        if name == TOKEN_USER:
            return {"identitytoken": secret, "serveraddress": server}
        return {"username": name, "password": secret, "serveraddress": server}
    return _from_auths(config.get("auths", {}), server, "config.json")


def every_login(context: Context, *, warn: bool = False) -> dict[str, dict[str, str]]:
    """What :func:`lookup` finds for each registry that there is anything for.

    ``warn`` of what can't be read, once, and leave it out. Raises CommandError without it.
    """
    problems: list[str] = []
    found = {}
    for server in _servers(context, problems):
        try:
            found[server] = lookup(context, server)
        except CommandError as exc:
            problems.append(exc.message)
    if problems and not warn:
        raise CommandError(problems[0])
    for text in dict.fromkeys(problems):
        sys.stderr.write(f"WARNING: {text}\n")
    return {server: credentials for server, credentials in found.items() if credentials}


def _servers(context: Context, problems: list[str]) -> list[str]:
    config = context.config
    servers = {*config.get("auths", ()), *config.get("credHelpers", ()), *from_environment()}
    store = config.get("credsStore")
    if store:
        try:
            servers |= set(_told(store, "list", call_helper(store, "list", "")))
        except CommandError as exc:
            problems.append(exc.message)
    return sorted(servers)


def _hostname(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_auths(auths: dict[str, Any], server: str, place: str) -> dict[str, str]:
    entry = auths.get(server)
    if entry is None:
        entry = next((value for key, value in auths.items() if _hostname(key) == _hostname(server)), None)
    if not entry:
        return {}
    out = {"serveraddress": server}
    if entry.get("auth"):
        from binascii import a2b_base64

        try:
            text = "".join(str(entry["auth"]).split())
            name, colon, password = a2b_base64(text, strict_mode=True).decode().partition(":")
            if not (name and colon):
                raise ValueError
        except ValueError as exc:
            raise CommandError(f"invalid auth configuration for {server} in {place}") from exc
        out["username"], out["password"] = name, password.rstrip("\0")
    elif entry.get("username"):
        out["username"], out["password"] = entry["username"], entry.get("password", "")
    for key in ("identitytoken", "registrytoken"):
        if entry.get(key):
            out[key] = entry[key]
    return out


def file_entry(login: dict[str, str]) -> dict[str, str]:
    """A login as ``auths`` of config.json has it: what :func:`_from_auths` reads."""
    from binascii import b2a_base64

    out = {}
    if login.get("username"):
        text = f"{login['username']}:{login.get('password', '')}"
        out["auth"] = b2a_base64(text.encode(), newline=False).decode()
    return out | {key: login[key] for key in ("identitytoken", "registrytoken") if login.get(key)}


def encode(credentials: dict[str, str]) -> str:
    """The value of the ``X-Registry-Auth`` header."""
    from binascii import b2a_base64

    from rundlet.client.wire import dumps

    text = b2a_base64(dumps(credentials).encode(), newline=False).decode()
    return text.replace("+", "-").replace("/", "_")


def registry_headers(context: Context, domain: str) -> dict[str, str]:
    """The header that carries the user's credentials for ``domain``; none when there are none.

    What keeps from reading them is warned of: what is for everybody is had without, as with Docker's command line.
    """
    try:
        found = lookup(context, config_key(domain))
    except CommandError as exc:
        sys.stderr.write(f"WARNING: {exc.message}\n")
        return {}
    return {"X-Registry-Auth": encode(found)} if found else {}
