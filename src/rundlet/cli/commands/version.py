"""``rundlet version``."""

from __future__ import annotations

import os
import sys

from rundlet import __version__
from rundlet.cli.shared_flags import INSPECT_FORMAT
from rundlet.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Show the version of the client and of the engine"
ARGS = (0, 0)
FLAGS = (INSPECT_FORMAT,)

API_VERSION = "1.51"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def client_version(call: Invocation) -> dict[str, Any]:
    """What ``.Client`` is in a template."""
    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": os.environ.get("DOCKER_API_VERSION", "").removeprefix("v") or API_VERSION,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "Arch": ARCHITECTURES.get(machine, machine),
        "Context": call.context.context_name(),
    }


def run(call: Invocation) -> int:
    template = call.flags["format"]
    client = client_version(call)
    error: ClientError | None = None
    server: dict[str, Any] | None = None
    try:
        server = call.context.session.get("/version")
    except ClientError as exc:
        error = exc
    if template:
        _formatted(template, client, server)
    else:
        call.context.say(_text(client, server))
    if error is not None:
        raise error
    return 0


def _formatted(template: str, client: dict[str, Any], server: dict[str, Any] | None) -> None:
    data = {"Client": client, "Server": server}
    from rundlet.cli.format.templated import Format
    from rundlet.cli.format.types import decoded

    Format("{{json .}}" if template == "json" else template, name="version").print(decoded("system.versionInfo", data))


def _line(label: str, value: Any, indent: str = " ") -> str:
    return f"{indent}{label + ':':<{20 - len(indent)}}{value}".rstrip()


def _text(client: dict[str, Any], server: dict[str, Any] | None) -> str:
    lines = ["Client: Rundlet"]
    for label, key in (("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "PythonVersion")):
        lines.append(_line(label, client[key]))
    if client["ApiVersion"] != client["DefaultAPIVersion"]:
        lines[2] += f" (downgraded from {client['DefaultAPIVersion']})"
    lines.append(_line("OS/Arch", f"{client['Os']}/{client['Arch']}"))
    lines.append(_line("Context", client["Context"]))
    if server is None:
        return "\n".join(lines)
    platform = (server.get("Platform") or {}).get("Name") or ""
    lines += ["", f"Server: {platform}".rstrip()]
    for component in server.get("Components") or ():
        details = component.get("Details") or {}
        lines.append(f" {component['Name']}:")
        lines.append(_line("Version", component["Version"], "  "))
        if component["Name"] == "Engine":
            least = details.get("MinAPIVersion", "")
            lines.append(_line("API version", f"{details.get('ApiVersion', '')} (minimum version {least})", "  "))
            for label, key in (
                ("Go version", "GoVersion"),
                ("Python version", "PythonVersion"),
                ("Git commit", "GitCommit"),
                ("Built", "BuildTime"),
            ):
                if details.get(key):
                    lines.append(_line(label, details[key], "  "))
            lines.append(_line("OS/Arch", f"{details.get('Os', '')}/{details.get('Arch', '')}", "  "))
            lines.append(_line("Experimental", details.get("Experimental", "false"), "  "))
        elif "GitCommit" in details:
            lines.append(_line("GitCommit", details["GitCommit"], "  "))
    return "\n".join(lines)
