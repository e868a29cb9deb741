"""Device requests of the API (``--gpus``, ``--device vendor.com/class=name``) as what CDI has to edit."""

from collections.abc import Sequence
from typing import Final

from rundlet.api.container_config import DeviceRequest
from rundlet.engine.cdi import registry
from rundlet.engine.cdi.edits import Edits, collect
from rundlet.engine.cdi.registry import CdiError
from rundlet.errors import InternalError

_GPU_KIND: Final = "nvidia.com/gpu"
_GPU_DRIVERS: Final = ("", "nvidia")


class NoDeviceDriverError(InternalError):
    """Nothing on this machine has devices of that kind."""

    reason = "no-device-driver"

    def __init__(self, driver: str, capabilities: Sequence[Sequence[str]]) -> None:
        shown = " ".join(f"[{' '.join(each)}]" for each in capabilities)
        super().__init__(f'could not select device driver "{driver}" with capabilities: [{shown}]')


def edits_for(requests: Sequence[DeviceRequest], directories: Sequence[str]) -> Edits:
    """``directories``: none where CDI is switched off. Raises CdiError, NoDeviceDriverError."""
    if not requests:
        return Edits()
    known, problems = registry.load(directories)
    names = [name for request in requests for name in _names(request, known, switched_on=bool(directories))]
    missing = [name for name in names if name not in known]
    if missing:
        hint = f" ({'; '.join(problems)})" if problems else ""
        raise CdiError(f"unresolvable CDI devices {', '.join(missing)}{hint}")
    found: list[dict[str, object]] = []
    for name in dict.fromkeys(names):
        # What a specification says of all its devices is done once.
        found += [edit for edit in known[name] if edit not in found]
    return collect(found)


def _names(request: DeviceRequest, known: dict[str, list[dict[str, object]]], *, switched_on: bool) -> list[str]:
    if request.driver == "cdi" and switched_on:
        return list(request.device_ids or ())
    capabilities = request.capabilities or ()
    gpus = [name for name in known if name.startswith(f"{_GPU_KIND}=")]
    wanted = any("gpu" in each for each in capabilities)
    if request.driver not in _GPU_DRIVERS or not wanted or not gpus:
        raise NoDeviceDriverError(request.driver, capabilities)
    if request.device_ids:
        return [f"{_GPU_KIND}={name}" for name in request.device_ids]
    if request.count < 0:
        every = f"{_GPU_KIND}=all"
        return [every] if every in known else gpus
    single = [name for name in gpus if name.rpartition("=")[2].isdigit()]
    if request.count > len(single):
        raise CdiError(f"{request.count} GPUs were asked for, this machine has {len(single)}")
    return sorted(single, key=lambda name: int(name.rpartition("=")[2]))[: request.count]
