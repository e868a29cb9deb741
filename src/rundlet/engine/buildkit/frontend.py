"""What a client asks of the frontend ``dockerfile.v0``, as a build of ours; what can't be done is refused by name."""

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from rundlet.api.buildkit import CacheEntry, Definition, Exporter
from rundlet.api.builds import BuildOptions, Output, Ulimit
from rundlet.api.images import AuthConfig
from rundlet.errors import InvalidParameterError, NotSupportedError

DOCKERFILE: Final = "dockerfile.v0"
GATEWAY: Final = "gateway.v0"
UPLOAD: Final = "http://buildkit-session/"
"""An archive that the client sends through its session."""
_CAPABILITIES: Final = frozenset({"moby.buildkit.frontend.contexts"})
_PULL: Final = "pull"
_RESOLVE_MODES: Final = frozenset({"default", _PULL, "local"})
_TOLD: Final = frozenset({"source", "cmdline", "frontend.caps", "multi-platform", "hostname"})
"""Read elsewhere, or about the client itself."""
_EXPORTS: Final = {"moby": "image", "image": "image", "docker": "docker", "oci": "oci", "tar": "tar", "local": "local"}
_TRUE: Final = frozenset({"true", "1"})


class Plan(msgspec.Struct, frozen=True):
    """One build. ``directory`` is the client's name for its context where that is not ``remote``; ``dockerfile`` that
    of where its Dockerfile is, "" for in the context; ``contexts`` are the client's names of further directories.
    ``sessions`` are those of directories that are not of the build's own session: several builds share them."""

    options: BuildOptions
    directory: str = "context"
    remote: str = ""
    dockerfile: str = "dockerfile"
    filename: str = "Dockerfile"
    contexts: Mapping[str, str] = {}
    sessions: Mapping[str, str] = {}

    def with_logins(self, logins: dict[str, AuthConfig]) -> BuildOptions:
        """The options, with logins that are filled in later."""
        return msgspec.structs.replace(self.options, auth=logins)


def plan(
    frontend: str,
    attributes: Mapping[str, str],
    inputs: Mapping[str, Definition],
    exporters: Sequence[Exporter],
    imports: Sequence[CacheEntry],
    exports: Sequence[CacheEntry],
    entitlements: Sequence[str],
) -> Plan:
    """Raises NotSupportedError, InvalidParameterError."""
    _check_frontend(frontend, attributes)
    if inputs:
        raise NotSupportedError(f"a build context that the client made by itself ({', '.join(sorted(inputs))})")
    asked = _Attributes(attributes)
    outputs = tuple(_output(one) for one in exporters) or (Output("cacheonly"),)
    imported = (*imports, *_listed(attributes.get("cache-imports", "")))
    remote = attributes.get("context", "")
    options = BuildOptions(
        rich=True,
        outputs=outputs,
        cache_from=tuple(_cache(one) for one in imported) + _words(attributes.get("cache-from", "")),
        cache_to=tuple(_cache(one) for one in exports),
        allow=tuple(entitlements),
        target=attributes.get("target", ""),
        platform=attributes.get("platform", ""),
        pull=asked.mode() == _PULL,
        no_cache=attributes.get("no-cache") == "",
        no_cache_filter=_words(attributes.get("no-cache", "")),
        build_args=dict(asked.below("build-arg:")),
        labels=dict(asked.below("label:")),
        extra_hosts=_hosts(attributes.get("add-hosts", "")),
        network_mode=attributes.get("force-network-mode", ""),
        shm_size=asked.number("shm-size"),
        ulimits=_ulimits(attributes.get("ulimit", "")),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        attests=tuple(f"type={name},{value}".rstrip(",") for name, value in asked.below("attest:").items()),
        contexts={name: _context(name, value) for name, value in asked.below("context:").items()},
        remote="client-session",
    )
    found = Plan(
        options,
        directory=attributes.get("contextkey", "context"),
        remote=remote,
        dockerfile=attributes.get("dockerfilekey", "" if remote else "dockerfile"),
        filename=attributes.get("filename", "Dockerfile"),
        contexts={
            name: value.removeprefix("local:")
            for name, value in asked.below("context:").items()
            if value.startswith("local:")
        },
        sessions=asked.below("local-sessionid:"),
    )
    asked.check()
    return found


def _check_frontend(frontend: str, attributes: Mapping[str, str]) -> None:
    source = attributes.get("source", "")
    known = posixpath.basename(source.partition("@")[0]).partition(":")[0] == "dockerfile"
    if frontend != DOCKERFILE and not (frontend == GATEWAY and known):
        raise NotSupportedError(f"the build frontend {source or frontend}")
    for word in _words(attributes.get("frontend.caps", "")):
        if word.partition("+")[0] not in _CAPABILITIES:
            raise NotSupportedError(f"the frontend's capability {word}")
    if attributes.get("requestid"):
        raise NotSupportedError(f"the frontend request {attributes['requestid']}")


class _Attributes:
    """Remembers what was asked for: :meth:`check` refuses the rest."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._all = attributes
        self._prefixes = ["vcs:", "input:"]

    def below(self, prefix: str) -> dict[str, str]:
        self._prefixes.append(prefix)
        return {key.removeprefix(prefix): value for key, value in self._all.items() if key.startswith(prefix)}

    def mode(self) -> str:
        mode = self._all.get("image-resolve-mode", "default")
        if mode not in _RESOLVE_MODES:
            raise InvalidParameterError(f"invalid image-resolve-mode: {mode}")
        return mode

    def number(self, key: str) -> int:
        text = self._all.get(key, "0")
        if not (text.isascii() and text.isdigit()):
            raise InvalidParameterError(f"failed to parse {key}: {text}")
        return int(text)

    def check(self) -> None:
        """Raises NotSupportedError."""
        known = _TOLD | {
            *("cache-imports", "context", "cache-from", "target", "platform", "image-resolve-mode", "no-cache"),
            *("add-hosts", "force-network-mode", "shm-size", "ulimit", "cgroup-parent"),
            *("contextkey", "dockerfilekey", "filename"),
        }
        for key in self._all:
            if key not in known and not any(key.startswith(prefix) for prefix in self._prefixes):
                raise NotSupportedError(f"the frontend option {key}")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _pairs(text: str, what: str) -> Iterable[tuple[str, str]]:
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise InvalidParameterError(f"invalid {what}: {word}")
        yield name, value


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(f"{name}:{address}" for name, address in _pairs(text, "add-hosts"))


def _ulimits(text: str) -> tuple[Ulimit, ...]:
    found = []
    for name, value in _pairs(text, "ulimit"):
        soft, _, hard = value.partition(":")
        try:
            found.append(Ulimit(name, int(soft), int(hard or soft)))
        except ValueError as exc:
            raise InvalidParameterError(f"invalid ulimit: {name}={value}") from exc
    return tuple(found)


def _context(name: str, value: str) -> str:
    if value.startswith("local:"):
        return f"input:{name}"
    if value.startswith("oci-layout://"):
        raise NotSupportedError(f"the build context {name} from an OCI layout")
    return value


def _output(exporter: Exporter) -> Output:
    kind = _EXPORTS.get(exporter.type)
    if kind is None:
        raise NotSupportedError(f"output type {exporter.type}")
    attributes = dict(exporter.attributes)
    if attributes.pop("tar", "true") not in _TRUE:
        raise NotSupportedError(f"output type {exporter.type} as a directory")
    # Where a client keeps what it gets is its own business.
    for name in ("dest", "context"):
        attributes.pop(name, None)
    _drop(attributes, "unpack", lambda value: value in _TRUE)
    _drop(attributes, "load", lambda value: value in _TRUE)
    _drop(attributes, "store", lambda value: value in _TRUE)
    return Output(kind, {name: value for name, value in attributes.items() if value})


def _drop(attributes: dict[str, str], name: str, holds: Callable[[str], bool]) -> None:
    """What is so here anyway need not be asked for."""
    if name in attributes and holds(attributes[name]):
        del attributes[name]


def _cache(entry: CacheEntry) -> str:
    if entry.type == "local":
        raise NotSupportedError("a build cache of type local through BuildKit's protocol")
    return ",".join((f"type={entry.type}", *(f"{name}={value}" for name, value in sorted(entry.attributes.items()))))


class _Listed(msgspec.Struct, frozen=True, rename="pascal"):
    type: str = ""
    attrs: dict[str, str] = msgspec.field(default_factory=dict)


def _listed(text: str) -> tuple[CacheEntry, ...]:
    if not text:
        return ()
    try:
        found = msgspec.json.decode(text, type=tuple[_Listed, ...])
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise InvalidParameterError(f"failed to unmarshal cache-imports: {exc}") from exc
    return tuple(CacheEntry(one.type, one.attrs) for one in found)
