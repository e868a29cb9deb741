"""Keys of dockerd's that have one answer here: taken where they ask for it, else refused by name with the reason."""

from typing import Any, Final

from rundlet.daemon.errors import ConfigError

_NO_SWARM = "there is no swarm"
_NO_CONTAINERD = "there is no containerd"
_REFUSED: Final = {
    "allow-nondistributable-artifacts": "foreign layers are never pushed",
    "api-cors-header": "browsers don't ask the engine",
    "authorization-plugins": "there are no plugins",
    "cluster-advertise": _NO_SWARM,
    "cluster-store": _NO_SWARM,
    "containerd": _NO_CONTAINERD,
    "containerd-namespace": _NO_CONTAINERD,
    "containerd-plugin-namespace": _NO_CONTAINERD,
    "cpu-rt-period": "its control group is not the engine's to limit",
    "cpu-rt-runtime": "its control group is not the engine's to limit",
    "init-path": "--init is a program of its own",
    "node-generic-resources": _NO_SWARM,
    "oom-score-adjust": "want OOMScoreAdjust= of its service",
    "swarm-default-advertise-addr": _NO_SWARM,
    "userland-proxy-path": "the proxy is its own",
}
_ONE_ANSWER: Final[dict[str, tuple[Any, str]]] = {
    "firewall-backend": ("nftables", "it is nftables"),
    "raw-logs": (True, "logs have no colours"),
    "selinux-enabled": (False, "containers have the labels that --security-opt gives them"),
}
_CHOSEN: Final = frozenset(("buildkit", "cdi"))
"""Features that can be on or off; every other one is off."""
_CHECKED_BEFORE: Final = "overlay2.override_kernel_check"
"""An option that Docker itself has not looked at for years, and that many files still have."""
KEYS: Final = (*_REFUSED, *_ONE_ANSWER, "features", "storage-opts")


def check(where: str, document: dict[str, Any]) -> None:
    """Take such keys out of ``document``. Raises ConfigError; ``where`` is the file."""
    for key in [key for key in document if key in KEYS]:
        reason = _reason(key, document[key])
        if reason:
            raise ConfigError(f"{where}: {key} is not supported by Rundlet: {reason}")
        if key != "features":
            del document[key]


def _reason(key: str, value: object) -> str:
    """Why not; "" where it is as the file wants it."""
    if key in _REFUSED:
        return _REFUSED[key]
    if key in _ONE_ANSWER:
        answer, reason = _ONE_ANSWER[key]
        return "" if value == answer and type(value) is type(answer) else reason
    if key == "storage-opts":
        kept = value if isinstance(value, list) else [value]
        other = [str(one) for one in kept if str(one).partition("=")[0] != _CHECKED_BEFORE]
        return f"{other[0]}" if other else ""
    return unsupported_feature(value)


def unsupported_feature(value: object) -> str:
    """Which of the features of ``value`` can't be as it says, and why; "" where all are."""
    if not isinstance(value, dict):
        return "want an object of names and true or false"
    for name, on in value.items():
        if type(on) is not bool:
            return f"{name}: want true or false"
        if on and name not in _CHOSEN:
            return f"{name}: {str(on).lower()}"
    return ""
