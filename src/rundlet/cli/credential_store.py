"""Keeping and forgetting credentials: a configured or detected helper, else config.json (mode 0600)."""

from __future__ import annotations

import os

from rundlet.cli.config import read_config
from rundlet.cli.credentials import TOKEN_USER, call_helper, file_entry, helper_for, with_detected_store
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context

WARNING = (
    "\nWARNING! Your credentials are stored unencrypted in '{}'.\n"
    "Configure a credential helper to remove this warning. See\n"
    "https://docs.docker.com/go/credential-store/\n"
)


def store(context: Context, server: str, username: str, password: str, token: str) -> str:
    """Keep credentials; ``token`` (an identity token) replaces the password. Returns a warning for the user, or
    nothing. Raises CommandError."""
    # What was detected is written down: from then on the configuration says where the credentials are.
    config = with_detected_store(read_config(context.config_directory))
    helper = helper_for(config, server)
    auths = config.setdefault("auths", {})
    if helper:
        from rundlet.client.wire import dumps

        user, secret = (TOKEN_USER, token) if token else (username, password)
        try:
            call_helper(helper, "store", dumps({"ServerURL": server, "Username": user, "Secret": secret}))
        except CommandError as exc:
            raise CommandError(f"Error saving credentials: {exc.message}") from exc
        # An empty entry tells other programs that there is a login for this server.
        auths[server] = {}
        _write(context, config)
        return ""
    entry = file_entry({"username": username, "password": "" if token else password, "identitytoken": token})
    if auths.get(server) == entry:
        return ""
    auths[server] = entry
    return WARNING.format(_write(context, config))


def erase(context: Context, server: str) -> bool:
    """Forget the credentials for ``server``; False when there were none. Raises CommandError."""
    config = read_config(context.config_directory)
    auths = config.get("auths", {})
    helper = helper_for(config, server)
    known = server in auths
    if helper and known:
        call_helper(helper, "erase", server)
    if not known:
        return False
    del auths[server]
    _write(context, config)
    return True


def _write(context: Context, config: dict[str, Any]) -> str:
    """Replace config.json, keeping every key that is not ours. Returns its path."""
    import json

    from rundlet.util.fs import write_atomic

    directory = context.config_directory
    path = os.path.realpath(f"{directory}/config.json")
    data = json.dumps(config, indent="\t").encode()
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        write_atomic(path, data, mode=0o600)
    except OSError as exc:
        raise CommandError(f"Error saving credentials: {exc.filename or path}: {(exc.strerror or '').lower()}") from exc
    return path
