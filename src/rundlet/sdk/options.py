"""From keyword arguments to the body of a create request."""

from __future__ import annotations

from typing import Any, TypedDict

from rundlet.cli.values import nano_cpus, size_in_bytes
from rundlet.sdk.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ContainerOptions(TypedDict, total=False):
    """What a container can be made with, all of it optional.

    ``ports``: ports of the container (``80``, ``"53/udp"``) with where they are published on this machine: a port, an
    ``"address:port"``, or None for a free one on every address. ``volumes``: a directory of this machine or a volume's
    name, and the place in the container, ``:ro`` after it for reading only. ``memory``: bytes, or ``"64m"``.
    ``host_config`` and ``config``: fields of the Engine API that have no name here.
    """

    name: str
    env: Mapping[str, str]
    ports: Mapping[int | str, int | str | None]
    volumes: Mapping[str, str]
    tmpfs: Sequence[str]
    network: str
    aliases: Sequence[str]
    labels: Mapping[str, str]
    user: str
    workdir: str
    hostname: str
    entrypoint: Sequence[str]
    memory: int | str
    cpus: float | str
    read_only: bool
    privileged: bool
    init: bool
    stdin: bool
    tty: bool
    restart: str
    host_config: Mapping[str, Any]
    config: Mapping[str, Any]


def body_of(image: str, command: Sequence[str], options: ContainerOptions) -> dict[str, Any]:
    """The body of ``POST /containers/create``. Raises EngineError for a value that can't be read."""
    try:
        return _body(image, command, options)
    except ValueError as exc:
        raise EngineError(str(exc)) from exc


def _body(image: str, command: Sequence[str], options: ContainerOptions) -> dict[str, Any]:
    ports = {_port(port): _binding(where) for port, where in options.get("ports", {}).items()}
    host: dict[str, Any] = {
        "PortBindings": ports,
        "Binds": [f"{source}:{place}" for source, place in options.get("volumes", {}).items()],
        "Tmpfs": dict.fromkeys(options.get("tmpfs", ()), ""),
        "ReadonlyRootfs": options.get("read_only", False),
        "Privileged": options.get("privileged", False),
        "Init": options.get("init"),
        "RestartPolicy": _restart(options.get("restart", "")),
    }
    if "network" in options:
        host["NetworkMode"] = options["network"]
    if "memory" in options:
        memory = options["memory"]
        host["Memory"] = memory if isinstance(memory, int) else size_in_bytes(memory)
    if "cpus" in options:
        host["NanoCpus"] = nano_cpus(str(options["cpus"]))
    stdin = options.get("stdin", False)
    body: dict[str, Any] = {
        "Image": image,
        "Cmd": list(command) or None,
        "Env": [f"{name}={value}" for name, value in options.get("env", {}).items()],
        "Labels": dict(options.get("labels", {})),
        "ExposedPorts": {port: {} for port in ports},
        "OpenStdin": stdin,
        "StdinOnce": stdin,
        "Tty": options.get("tty", False),
        "HostConfig": host | dict(options.get("host_config", {})),
    }
    names = (("user", "User"), ("workdir", "WorkingDir"), ("hostname", "Hostname"))
    body |= {wire: options[name] for name, wire in names if name in options}  # type: ignore[literal-required]
    if "entrypoint" in options:
        body["Entrypoint"] = list(options["entrypoint"])
    if "aliases" in options:
        settings = {"Aliases": list(options["aliases"])}
        body["NetworkingConfig"] = {"EndpointsConfig": {options.get("network", "bridge"): settings}}
    return body | dict(options.get("config", {}))


def _port(port: int | str) -> str:
    return str(port) if "/" in str(port) else f"{port}/tcp"


def _binding(where: int | str | None) -> list[dict[str, str]]:
    address, _, port = str(where if where is not None else "").rpartition(":")
    return [{"HostIp": address, "HostPort": port}]


def _restart(text: str) -> dict[str, Any]:
    name, _, count = text.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}
