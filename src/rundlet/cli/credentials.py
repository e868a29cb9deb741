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
    """Run a credential helper. Raises CommandError with what it said."""
    import subprocess

    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, action], input=data.encode(), capture_output=True, check=False)
    except OSError as exc:
        raise CommandError(f"error getting credentials - err: exec: {program}: {exc.strerror}") from exc
    output = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode:
        if output == NOT_FOUND:
            return ""
        raise CommandError(f"error getting credentials - err: exit status {done.returncode}, out: `{output}`")
    return output


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
    """{username, password, identitytoken, serveraddress} for a key of :func:`config_key`; empty when unknown."""
    found = _from_file(from_environment(), server)
    if found:
        return found
    config = with_detected_store(context.config)
    helper = helper_for(config, server)
    if helper:
        from rundlet.client.wire import loads

        try:
            text = call_helper(helper, "get", server)
        except CommandError:
            if contains_auth(context.config):
                raise
            text = ""  # nobody asked for this helper: without a desktop or a key it has nothing to say
        if not text:
            return {}
        found = loads(text)
        if found.get("Username") == TOKEN_USER:
            return {"identitytoken": found["Secret"], "serveraddress": server}
        return {"username": found["Username"], "password": found["Secret"], "serveraddress": server}
    return _from_file(config.get("auths", {}), server)


def every_login(context: Context) -> dict[str, dict[str, str]]:
    """What :func:`lookup` finds for each registry that there is anything for. Raises CommandError."""
    config = context.config
    servers = {*config.get("auths", ()), *config.get("credHelpers", ()), *from_environment()}
    store = config.get("credsStore")
    if store:
        from rundlet.client.wire import loads

        listed = call_helper(store, "list", "")
        servers |= set(loads(listed)) if listed else set()
    found = {server: lookup(context, server) for server in sorted(servers)}
    return {server: credentials for server, credentials in found.items() if credentials}


def _hostname(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _from_file(auths: dict[str, Any], server: str) -> dict[str, str]:
    entry = auths.get(server)
    if entry is None:
        entry = next((value for key, value in auths.items() if _hostname(key) == _hostname(server)), None)
    if not entry:
        return {}
    out = {"serveraddress": server}
    if entry.get("auth"):
        from binascii import a2b_base64

        try:
            name, _, password = a2b_base64(str(entry["auth"])).decode().partition(":")
        except ValueError as exc:
            raise CommandError(f"invalid auth configuration for {server} in config.json") from exc
        out["username"], out["password"] = name, password.rstrip("\0")
    elif entry.get("username"):
        out["username"], out["password"] = entry["username"], entry.get("password", "")
    for key in ("identitytoken", "registrytoken"):
        if entry.get(key):
            out[key] = entry[key]
    return out


def file_entry(login: dict[str, str]) -> dict[str, str]:
    """A login as ``auths`` of config.json has it: what :func:`_from_file` reads."""
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
    """The header that carries the user's credentials for ``domain``; none when there are none."""
    found = lookup(context, config_key(domain))
    return {"X-Registry-Auth": encode(found)} if found else {}
