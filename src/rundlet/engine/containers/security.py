"""``--security-opt``: what it may say and what it means."""

from typing import Any

import msgspec

from rundlet.api.container_config import HostConfig
from rundlet.engine import confinement
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.linux import lsm

_BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)


class Security(msgspec.Struct, frozen=True):
    """``seccomp_profile`` is a profile in Docker's or OCI's format, None for the default.

    ``apparmor``: a profile's name, "" for none, None for the default. ``label``: an SELinux label, "" for none.
    """

    no_new_privileges: bool = False
    seccomp_off: bool = False
    writable_cgroups: bool | None = None
    seccomp_profile: dict[str, Any] | None = None
    apparmor: str | None = None
    label: str = ""
    unmasked: bool = False


NOTHING = Security()


def security(host: HostConfig, engine: Security = NOTHING) -> Security:
    """What holds for the container; ``engine`` is what holds where its options say nothing else.

    Raises InvalidParameterError for an option that does not exist, NotSupportedError for one we can't honour.
    """
    values: dict[str, Any] = {"no_new_privileges": engine.no_new_privileges}
    if not host.privileged:  # it has no filter but one of its own
        values |= {"seccomp_off": engine.seccomp_off, "seccomp_profile": engine.seccomp_profile}
    for option in host.security_opt or ():
        if option in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
            values["no_new_privileges"] = True
            continue
        if option in ("no-new-privileges:false", "no-new-privileges=false"):
            values["no_new_privileges"] = False
            continue
        if option == "writable-cgroups":
            values["writable_cgroups"] = True
            continue
        name, sign, value = option.partition("=" if "=" in option else ":")
        if not sign:
            raise InvalidParameterError(f'invalid --security-opt 1: "{option}"')
        _apply(values, name, value, option)
    values["label"] = confinement.process_label(values.pop("label_parts", {}))
    return Security(**values)


def apparmor_profile(host: HostConfig) -> str:
    """The profile's name: the one that was asked for, else the default; privileged ones have none. Raises as above."""
    wanted = security(host).apparmor
    if wanted is not None:
        return wanted
    return "" if host.privileged else confinement.default_profile()


def _apply(values: dict[str, Any], name: str, value: str, option: str) -> None:
    match name, value:
        case "seccomp", "unconfined":
            values |= {"seccomp_off": True, "seccomp_profile": None}
        case "seccomp", "builtin":
            values |= {"seccomp_off": False, "seccomp_profile": None}
        case "seccomp", _:
            values |= {"seccomp_off": False, "seccomp_profile": _profile(value)}
        case "apparmor", "unconfined":
            values["apparmor"] = ""
        case "systempaths", "unconfined":
            values["unmasked"] = True
        case "apparmor", _ if value:
            if not lsm.apparmor_enabled():
                raise NotSupportedError(f"security option {option} without AppArmor on this machine")
            values["apparmor"] = value
        case "label", "disable":
            values.pop("label_parts", None)  # none is set unless it is asked for
        case "label", _ if value.partition(":")[0] in confinement.LABEL_PARTS:
            if not lsm.selinux_enabled():
                raise NotSupportedError(f"security option {option} without SELinux on this machine")
            part, _, word = value.partition(":")
            values.setdefault("label_parts", {})[part] = word
        case "writable-cgroups", _ if value in _BOOLEANS:
            values["writable_cgroups"] = _BOOLEANS[value]
        case _:
            raise InvalidParameterError(f'invalid --security-opt 2: "{option}"')


def _profile(text: str) -> dict[str, Any]:
    try:
        profile = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise InvalidParameterError(f"decoding seccomp profile failed: {exc}") from exc
    if not isinstance(profile, dict):
        raise InvalidParameterError("decoding seccomp profile failed: it is not a JSON object")
    return profile
