"""The container's configuration: the request over the image's defaults, by Docker's rules."""

import posixpath
from collections.abc import Mapping

import msgspec

from rundlet.api.base import EMPTY, Empty
from rundlet.api.container_config import ContainerConfig, HealthConfig
from rundlet.api.containers import ContainerCreate
from rundlet.errors import InvalidParameterError
from rundlet.oci.config import ContainerConfig as ImageDefaults
from rundlet.oci.config import Healthcheck


class NoCommandError(InvalidParameterError):
    """Neither the request nor the image says what to run."""

    reason = "no-command"

    def __init__(self) -> None:
        super().__init__("no command specified")


def _clean(directory: str) -> str:
    """As inspect shows it; what is relative is refused later, as it is."""
    return "/" + posixpath.normpath(directory).lstrip("/") if directory.startswith("/") else directory


def merge(request: ContainerCreate, image: ImageDefaults | None) -> ContainerConfig:
    """What the container will be. Raises NoCommandError.

    Where the request gives an entrypoint, the image's command does not apply: it was meant for the image's entrypoint.
    """
    defaults = image or ImageDefaults()
    entrypoint, cmd = _command(request, defaults)
    fields = {name: getattr(request, name) for name in ContainerConfig.__struct_fields__}
    fields.update(
        entrypoint=entrypoint,
        cmd=cmd,
        user=request.user or defaults.user,
        working_dir=_clean(request.working_dir or defaults.working_dir),
        stop_signal=request.stop_signal or defaults.stop_signal,
        stop_timeout=request.stop_timeout if request.stop_timeout is not None else defaults.stop_timeout,
        shell=request.shell or tuple(defaults.shell or ()) or None,
        env=_environment(request.env, defaults.env) or None,
        labels={**(defaults.labels or {}), **(request.labels or {})},
        exposed_ports=_union(request.exposed_ports, defaults.exposed_ports) or {},
        volumes=_union(request.volumes, defaults.volumes),
        healthcheck=_health(request.healthcheck, defaults.healthcheck),
    )
    return ContainerConfig(**fields)


def argv(config: ContainerConfig) -> list[str]:
    """Entrypoint and command as one list, never empty."""
    return [*(config.entrypoint or ()), *(config.cmd or ())]


def _command(
    request: ContainerCreate, defaults: ImageDefaults
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    entrypoint, cmd = request.entrypoint, request.cmd
    if not entrypoint:
        if not cmd:
            cmd = tuple(defaults.cmd) if defaults.cmd else None
        if entrypoint is None:
            entrypoint = tuple(defaults.entrypoint) if defaults.entrypoint else None
    if entrypoint == ("",):
        # `--entrypoint ""` clears the image's entrypoint (and so its command) without giving another.
        entrypoint = None
    if not entrypoint and not cmd:
        raise NoCommandError
    return entrypoint, cmd


def _environment(asked: tuple[str, ...] | None, given: list[str] | None) -> tuple[str, ...]:
    """The request's variables, then the image's that the request does not name.

    A word without ``=`` in the request stays, and takes the image's variable away when the container is started.
    """
    result = list(asked or ())
    names = {word.partition("=")[0] for word in result}
    result += [word for word in given or () if word.partition("=")[0] not in names]
    return tuple(result)


def _union(asked: Mapping[str, object] | None, given: Mapping[str, object] | None) -> dict[str, Empty | None] | None:
    if not asked and not given:
        return None
    return {**dict.fromkeys(given or (), EMPTY), **dict.fromkeys(asked or (), EMPTY)}


def _health(asked: HealthConfig | None, given: Healthcheck | None) -> HealthConfig | None:
    if given is None:
        return asked
    base = HealthConfig(
        test=tuple(given.test) if given.test else None,
        interval=given.interval,
        timeout=given.timeout,
        start_period=given.start_period,
        start_interval=given.start_interval,
        retries=given.retries,
    )
    if asked is None:
        return base
    names = HealthConfig.__struct_fields__
    return msgspec.structs.replace(base, **{name: getattr(asked, name) for name in names if getattr(asked, name)})
