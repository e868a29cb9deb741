"""The build command's flags as the API's query and headers."""

from __future__ import annotations

import os

from rundlet.cli.exit import CommandError
from rundlet.cli.variables import platforms, proxies
from rundlet.client.wire import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rundlet.cli.building.outputs import Output
    from rundlet.cli.context import Context

_CHECK = "check"
ACCEPT = "application/vnd.rundlet.build.v1+json"
"""Asks the engine for the state of each step instead of the classic builder's text."""


def pairs(words: Iterable[str]) -> dict[str, str]:
    """``NAME=value`` to a map; a NAME alone has the value of this environment, and is left out where there is none."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def build_arguments(context: Context, words: Iterable[str]) -> dict[str, str]:
    """``--build-arg``, and what config.json and the environment add to it."""
    found = pairs(words)
    for name, value in proxies(context).items():
        found.setdefault(name, value)
    if "SOURCE_DATE_EPOCH" in os.environ:
        found.setdefault("SOURCE_DATE_EPOCH", os.environ["SOURCE_DATE_EPOCH"])
    return found


def tags(words: Iterable[str]) -> list[str]:
    """Checked names for the result. Raises CommandError."""
    from rundlet.cli.reference import parse

    for word in words:
        try:
            name = parse(word)
        except CommandError as exc:
            raise CommandError(f'ERROR: failed to build: invalid tag "{word}": {exc.message}') from exc
        if name.digest:
            raise CommandError(f'ERROR: failed to build: invalid tag "{word}": refusing to create a tag with a digest')
    return list(words)


def makes_image(wanted: Iterable[Output]) -> bool:
    """Whether an image is among what is wanted; it is when nothing is said."""
    wanted = list(wanted)
    kinds = ("image", "docker")
    return not wanted or any(one.type in kinds and not one.destination and _is_stored(one) for one in wanted)


def _is_stored(output: Output) -> bool:
    """Whether it is here afterwards."""
    return output.attributes.get("store", "true").lower() in ("true", "1")


def result_names(words: Iterable[str], wanted: Iterable[Output]) -> list[str]:
    """What the image is called from now on, in full: ``docker.io/library/name:latest``."""
    from rundlet.cli.reference import parse

    names = [*words]
    for output in filter(_is_stored, wanted):
        names += filter(None, output.attributes.get("name", "").split(",") if output.type == "image" else ())
    return [str(parse(name).with_default_tag()) for name in names]


def outputs(flags: dict[str, Any]) -> list[Output]:
    """``--output``, ``--load`` and ``--push`` together. Raises CommandError."""
    if not (flags["output"] or flags["push"]):
        return []
    from rundlet.cli.building.outputs import Output, parse_output

    found = [parse_output(text) for text in flags["output"]]
    if flags["push"]:
        images = [output for output in found if output.type == "image"]
        for output in images:
            output.attributes["push"] = "true"
        if not images:
            found.append(Output("image", {"push": "true"}, ""))
    if flags["load"] and found and not any(output.type in ("image", "docker") for output in found):
        found.append(Output("docker", {}, ""))
    return found


def attestations(flags: dict[str, Any]) -> list[str]:
    """``--attest``, ``--provenance`` and ``--sbom`` as one list of ``type=…``. Raises CommandError."""
    found = list(flags["attest"])
    for name in ("provenance", "sbom"):
        text = flags[name]
        if not text or text.lower() in ("false", "0"):
            continue
        if text.lower() in ("true", "1"):
            found.append(f"type={name}")
        elif "=" in text:
            found.append(f"type={name},{text}")
        else:
            raise CommandError(f"ERROR: failed to build: invalid value for {name}: {text}")
    return found


def build_query(context: Context, flags: dict[str, Any], wanted: list[Output]) -> dict[str, Any]:
    """The query of POST /build, but for what the source adds. Empty things are left out."""

    def document(value: Any) -> str | None:
        return dumps(value) if value else None

    query: dict[str, Any] = {
        "version": "1",
        "t": tags(flags["tag"]) or None,
        "buildargs": document(build_arguments(context, flags["build-arg"])),
        "labels": document(pairs(flags["label"])),
        "target": flags["target"] or None,
        "platform": ",".join(platforms(flags)) or None,
        "networkmode": flags["network"] if flags["network"] not in ("", "default") else None,
        "extrahosts": flags["add-host"] or None,
        "nocache": flags["no-cache"] or None,
        "nocachefilter": document(flags["no-cache-filter"]),
        "pull": "1" if flags["pull"] else None,
        "q": flags["quiet"] or None,
        "rm": flags["rm"],
        "forcerm": flags["force-rm"] or None,
        "squash": flags["squash"] or None,
        "cachefrom": document(flags["cache-from"]),
        "cacheto": document(flags["cache-to"]),
        "ulimits": document(flags["ulimit"]),
        "cgroupparent": flags["cgroup-parent"] or None,
        "securityopt": flags["security-opt"] or None,
        "outputs": document([output.wire() for output in wanted]),
        "attests": document(attestations(flags)),
        "annotations": document(flags["annotation"]),
        "allow": document(flags["allow"]),
        "check": "1" if is_check(flags) else None,
        "call": other_call(flags),
    }
    for flag, name in (
        ("shm-size", "shmsize"),
        ("memory", "memory"),
        ("memory-swap", "memswap"),
        ("cpu-shares", "cpushares"),
        ("cpu-period", "cpuperiod"),
        ("cpu-quota", "cpuquota"),
        ("cpuset-cpus", "cpusetcpus"),
        ("cpuset-mems", "cpusetmems"),
    ):
        query[name] = flags[flag] or None
    return query


def is_check(flags: dict[str, Any]) -> bool:
    """``--check`` or ``--call=check``, to be shown as text."""
    name, as_json = _call(flags)
    return name == _CHECK and not as_json


def other_call(flags: dict[str, Any]) -> str | None:
    """What else is asked instead of a build: ``outline``, ``targets``… or a check that a program reads."""
    name, as_json = _call(flags)
    return name if name and (name != _CHECK or as_json) else None


def wants_json(flags: dict[str, Any]) -> bool:
    """``--call=…,format=json``."""
    return _call(flags)[1]


def _call(flags: dict[str, Any]) -> tuple[str, bool]:
    """What ``--call`` and ``--check`` ask for ("" for a build), and whether JSON is wanted. Raises CommandError."""
    name, *fields = flags["call"].split(",")
    as_json = False
    for field in fields:
        key, _, value = field.partition("=")
        if key != "format" or value not in ("json", "text"):
            raise CommandError(f"ERROR: invalid call attribute: {field}")
        as_json = value == "json"
    name = name.lower()
    if name not in ("build", "lint", _CHECK, "outline", "targets", "subrequests.describe"):
        raise CommandError(f"--call={flags['call']} is not supported by Rundlet")
    if flags["check"] or name == "lint":
        name = _CHECK
    return ("" if name == "build" else name), as_json


def registry_config(context: Context) -> dict[str, str]:
    """The header with the user's credentials for every registry, since only the engine knows which a build needs."""
    config = context.config
    if not any(config.get(key) for key in ("auths", "credHelpers", "credsStore")) and (
        "DOCKER_AUTH_CONFIG" not in os.environ
    ):
        return {}
    from rundlet.cli.credentials import encode, every_login

    found = every_login(context, warn=True)
    return {"X-Registry-Config": encode(found)} if found else {}  # type: ignore[arg-type]
