"""``--use-api-socket`` of ``run`` and ``create``: the engine's socket in the container, and the user's registry logins.

See: docs.docker.com/reference/cli/docker/container/run, --use-api-socket.
"""

from __future__ import annotations

import posixpath

from rundlet.cli import paths
from rundlet.cli.exit import CommandError
from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context

SOCKET = "/var/run/docker.sock"
"""Where programs in the container look for an engine, and where the one of another machine probably listens."""
CONFIG = "/run/secrets/docker/config.json"
_VARIABLE = "DOCKER_CONFIG"


def prepare(context: Context, body: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Add the socket to a container that is to be made. Returns the credentials to give it afterwards: none where it
    has a configuration of its own (``-e DOCKER_CONFIG=…``). Raises ClientError."""
    mount = {"Type": "bind", "Source": _source(context), "Target": SOCKET}
    body["HostConfig"].setdefault("Mounts", []).append(mount)
    if any(text.startswith(f"{_VARIABLE}=") for text in body["Env"]):
        return {}
    from rundlet.cli.credentials import every_login

    try:
        found = every_login(context)
    except CommandError as exc:
        raise ClientError(f"resolving credentials failed: {exc.message}") from exc
    if found:
        body["Env"] = [*body["Env"], f"{_VARIABLE}={posixpath.dirname(CONFIG)}"]
    return found


def _source(context: Context) -> str:
    endpoint = context.endpoint()
    if endpoint is None:
        return paths.engine_socket()
    return endpoint.url.removeprefix("unix://") if endpoint.url.startswith("unix://") else SOCKET


def give_logins(context: Context, container: str, logins: dict[str, dict[str, str]]) -> None:
    """Write the credentials into a container that was made and not started yet. Raises ClientError."""
    import io
    import tarfile

    from rundlet.cli.credentials import file_entry
    from rundlet.client.wire import dumps

    data = dumps({"auths": {server: file_entry(login) for server, login in logins.items()}}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(CONFIG.lstrip("/"))
        member.size, member.mode = len(data), 0o600
        archive.addfile(member, io.BytesIO(data))
    try:
        path = f"/containers/{container}/archive"
        context.session.request("PUT", path, query={"path": "/"}, stream=iter([buffer.getvalue()])).read()
    except ClientError as exc:
        raise ClientError(f"injecting docker config.json into container failed: {exc}") from exc
