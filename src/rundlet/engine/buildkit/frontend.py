"""What a client asks of the frontend ``dockerfile.v0``, as a build of ours; what can't be done is refused by name."""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from rundlet.api.buildkit import CacheEntry, Definition, Exporter
from rundlet.api.builds import BuildOptions, Output, Ulimit
from rundlet.api.images import AuthConfig
from rundlet.builder.dockerfile.arguments import MULTI_PLATFORM
from rundlet.builder.namedcontexts import IMAGE, INPUT, is_remote
from rundlet.engine.buildkit.graphs import location_of, result_of, source_of
from rundlet.engine.builds.indexes import INDEX, KINDS, MANIFEST
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.oci.digest import Digest, InvalidDigestError

DOCKERFILE: Final = "dockerfile.v0"
GATEWAY: Final = "gateway.v0"
UPLOAD: Final = "http://buildkit-session/"
"""An archive that the client sends through its session."""
_CAPABILITIES: Final = frozenset(
    f"moby.buildkit.frontend.{name}" for name in ("contexts", "subrequests", "gitquerystring")
)
_LAYOUT: Final = "oci-layout://"
_LAYOUT_STORE: Final = "oci:"
LOCAL_STORE: Final = "local:"
"""What clients put before the names of their stores."""
_LOCAL: Final = "local:"
_RESULT: Final = "result:"
_PULL: Final = "pull"
_RESOLVE_MODES: Final = frozenset({"default", _PULL, "local"})
_TOLD: Final = frozenset({"source", "cmdline", "frontend.caps", "multi-platform", "hostname", "requestid"})
"""Read elsewhere, or about the client itself."""
_EXPORTS: Final = {"moby": "image", "image": "image", "docker": "docker", "oci": "oci", "tar": "tar", "local": "local"}
_OF_DIRECTORIES: Final = frozenset({"src", "dest", "digest", "tag"})
_TRUE: Final = frozenset({"true", "1"})
_NOTED: Final = "|".join(sorted({*KINDS, "index-descriptor"}, reverse=True))
_ANNOTATION: Final = re.compile(rf"annotation(?:-(?P<kind>{_NOTED}))?(?P<platform>\[[^\]]+\])?\.(?P<key>.+)")


class StoredImage(msgspec.Struct, frozen=True):
    """An image in one of a client's content stores."""

    store: str
    digest: Digest


class Plan(msgspec.Struct, frozen=True):
    """One build. ``directory`` is the client's name for its context where that is not ``remote``; ``dockerfile`` that
    of where its Dockerfile is, "" for in the context; ``contexts`` are the client's names of further directories.
    ``results`` are contexts that other builds come to, ``stored`` those that are images in the client's stores,
    ``caches`` the build caches there, by the names that ``options`` has for them.
    ``sessions`` are those of directories that are not of the build's own session: several builds share them.
    ``request`` is what is asked about the Dockerfile instead of a build of it ("": nothing)."""

    options: BuildOptions
    directory: str = "context"
    remote: str = ""
    dockerfile: str = "dockerfile"
    filename: str = "Dockerfile"
    contexts: Mapping[str, str] = {}
    results: Mapping[str, str] = {}
    stored: Mapping[str, StoredImage] = {}
    caches: Mapping[str, StoredImage] = {}
    sessions: Mapping[str, str] = {}
    request: str = ""

    def settled(self, logins: dict[str, AuthConfig], contexts: Mapping[str, str]) -> BuildOptions:
        """The options, with logins that are filled in later and what other contexts have turned out to be."""
        return msgspec.structs.replace(self.options, auth=logins, contexts={**self.options.contexts, **contexts})

    def unread(self) -> "Plan":
        """The same without outputs: only what is built counts."""
        options = msgspec.structs.replace(self.options, outputs=(Output("cacheonly"),), cache_to=())
        return msgspec.structs.replace(self, options=options)


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
    asked = _Attributes(attributes)
    contexts = _Contexts({name: _value(name, definition) for name, definition in inputs.items()})
    for name, value in asked.below("context:").items():
        contexts.add(name, value)
    outputs = tuple(_output(one) for one in exporters) or (Output("cacheonly"),)
    annotations = tuple(dict.fromkeys(text for one in exporters for text in _annotations(one)))
    imported = (*imports, *_listed(attributes.get("cache-imports", "")))
    directory, remote, dockerfile = contexts.main(attributes)
    options = BuildOptions(
        rich=True,
        outputs=outputs,
        cache_from=tuple(filter(None, map(_imported, imported))) + _words(attributes.get("cache-from", "")),
        cache_to=tuple(_cache(one, LOCAL_STORE, one.attributes.get("dest", "")) for one in exports),
        allow=tuple(entitlements),
        target=attributes.get("target", ""),
        platform=attributes.get("platform", ""),
        pull=asked.mode() == _PULL,
        no_cache=attributes.get("no-cache") == "",
        no_cache_filter=_words(attributes.get("no-cache", "")),
        build_args={**_multi_platform(attributes), **asked.below("build-arg:")},
        labels=dict(asked.below("label:")),
        extra_hosts=_hosts(attributes.get("add-hosts", "")),
        network_mode=attributes.get("force-network-mode", ""),
        shm_size=asked.number("shm-size"),
        ulimits=_ulimits(attributes.get("ulimit", "")),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        attests=tuple(_attestations(asked.below("attest:"))),
        annotations=annotations,
        contexts=contexts.values,
        remote=remote,
        recorded=True,
        dockerfile=attributes.get("filename", ""),
    )
    found = Plan(
        options,
        directory=directory,
        remote=remote,
        dockerfile=dockerfile,
        filename=attributes.get("filename", "Dockerfile"),
        contexts=contexts.directories,
        results=contexts.results,
        stored=contexts.stored,
        caches=dict(_caches(imported)),
        sessions=asked.below("local-sessionid:"),
        request=attributes.get("requestid", ""),
    )
    asked.check()
    alone = "," not in options.platform and not any(_is_wanted(value) for value in asked.below("attest:").values())
    if alone and any(text.startswith(f"{INDEX}:") for text in annotations):
        raise InvalidParameterError("index annotations not supported for single platform export")
    return found


def _multi_platform(attributes: Mapping[str, str]) -> dict[str, str]:
    """Whether there is to be an index of one platform, too, as the argument that says the same."""
    value = attributes.get("multi-platform", "")
    return {MULTI_PLATFORM: value} if value else {}


def _check_frontend(frontend: str, attributes: Mapping[str, str]) -> None:
    source = attributes.get("source", "")
    known = posixpath.basename(source.partition("@")[0]).partition(":")[0] == "dockerfile"
    if frontend != DOCKERFILE and not (frontend == GATEWAY and known):
        raise NotSupportedError(f"the build frontend {source or frontend}")
    for word in _words(attributes.get("frontend.caps", "")):
        if word.partition("+")[0] not in _CAPABILITIES:
            raise NotSupportedError(f"the frontend's capability {word}")


class _Attributes:
    """Remembers what was asked for: :meth:`check` refuses the rest."""

    def __init__(self, attributes: Mapping[str, str]) -> None:
        self._all = attributes
        self._prefixes = ["vcs:", "input:", "input-metadata:"]

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


class _Contexts:
    """What contexts are, each in its place. ``inputs`` are those that the client has made by itself."""

    def __init__(self, inputs: Mapping[str, str]) -> None:
        self._inputs = inputs
        self.values: dict[str, str] = {}
        self.directories: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.stored: dict[str, StoredImage] = {}

    def add(self, name: str, value: str) -> None:
        """Raises InvalidParameterError, NotSupportedError."""
        if value.startswith(INPUT):
            key = value.removeprefix(INPUT)
            if key not in self._inputs:
                raise InvalidParameterError(f"invalid input {key} for {name}")
            value = self._inputs[key]
        if value.startswith(_RESULT):
            self.results[name] = value.removeprefix(_RESULT)
        elif value.startswith(_LAYOUT):
            self.stored[name] = _stored(name, value)
        elif value.startswith(_LOCAL):
            self.directories[name] = value.removeprefix(_LOCAL)
            self.values[name] = f"{INPUT}{name}"
        elif value.startswith(IMAGE) or is_remote(value):
            self.values[name] = value
        else:
            raise NotSupportedError(f"the build context {name} from {value}")

    def main(self, attributes: Mapping[str, str]) -> tuple[str, str, str]:
        """The build's own: the client's directory, a URL or "", and the directory of the Dockerfile or "".

        Raises NotSupportedError.
        """
        directory, remote = attributes.get("contextkey", "context"), attributes.get("context", "")
        given = self._inputs.get("context", "")
        if given.startswith(_LOCAL):
            directory = given.removeprefix(_LOCAL)
        elif is_remote(given):
            remote = given
        elif given:
            raise NotSupportedError("the result of a build, or an image, as a build's main context")
        dockerfile = attributes.get("dockerfilekey", "" if remote else "dockerfile")
        own = self._inputs.get("dockerfile", given)
        if own.startswith(_LOCAL) and own != given:
            dockerfile = own.removeprefix(_LOCAL)
        elif own != given:
            raise NotSupportedError("a Dockerfile from elsewhere than the build's context")
        return directory, remote, dockerfile


def _attestations(asked: Mapping[str, str]) -> Iterable[str]:
    """Those that go with the image. What is only for the record of the build (``inline-only``, as buildx has it unless
    it is told something else) is there anyway."""
    for name, value in asked.items():
        words = _words(value)
        if not any(word.partition("=")[::2] == ("inline-only", "true") for word in words):
            yield ",".join((f"type={name}", *words))


def _value(name: str, definition: Definition) -> str:
    """The context that a client's graph is, as if it had been named."""
    source = source_of(definition)
    if result_of(source):
        return f"{_RESULT}{result_of(source)}"
    if location_of(source):
        return location_of(source)
    kind, _, rest = source.identifier.partition("://")
    if kind == "local":
        return f"{_LOCAL}{rest}"
    if kind == "docker-image":
        return source.identifier
    raise NotSupportedError(f"the build context {name} from {source.identifier}")


def _stored(name: str, value: str) -> StoredImage:
    store, _, digest = value.removeprefix(_LAYOUT).partition("@")
    try:
        return StoredImage(f"{_LAYOUT_STORE}{store.partition(':')[0]}", Digest.parse(digest))
    except InvalidDigestError as exc:
        raise InvalidParameterError(f"oci-layout reference {value!r} of {name} has no digest") from exc


def _output(exporter: Exporter) -> Output:
    kind = _EXPORTS.get(exporter.type)
    if kind is None:
        raise NotSupportedError(f"output type {exporter.type}")
    attributes = dict(exporter.attributes)
    if attributes.get("tar", "true") in _TRUE or kind == "local":
        attributes.pop("tar", None)
    elif kind != "oci":
        raise NotSupportedError(f"output type {exporter.type} as a directory")
    # Where a client keeps what it gets is its own business.
    for name in ("dest", "context"):
        attributes.pop(name, None)
    attributes = {name: value for name, value in attributes.items() if _ANNOTATION.fullmatch(name) is None}
    for name in ("unpack", "load", "store"):
        _drop(attributes, name, lambda value: value in _TRUE)
    return Output(kind, {name: value for name, value in attributes.items() if value})


def _annotations(exporter: Exporter) -> Iterable[str]:
    """``annotation.KEY``, ``annotation-index.KEY``, ``annotation-manifest[linux/arm64].KEY`` in the flag's words."""
    for name, value in exporter.attributes.items():
        if (match := _ANNOTATION.fullmatch(name)) is not None:
            yield f"{match['kind'] or MANIFEST}{match['platform'] or ''}:{match['key']}={value}"


def _is_wanted(attestation: str) -> bool:
    return ("disabled", "true") not in {word.partition("=")[::2] for word in _words(attestation)}


def _drop(attributes: dict[str, str], name: str, holds: Callable[[str], bool]) -> None:
    """What is so here anyway need not be asked for."""
    if name in attributes and holds(attributes[name]):
        del attributes[name]


def _cache(entry: CacheEntry, store: str, place: str) -> str:
    """``entry`` as an option; of a directory of the client's, ``place`` is what it is called in ``store``."""
    if entry.type == "local":
        # Which of a directory's caches it is, is the client's business.
        more = sorted((name, value) for name, value in entry.attributes.items() if name not in _OF_DIRECTORIES)
        named = f"{'src' if store == INPUT else 'dest'}={store}{_quoted(place)}"
        return ",".join(("type=local", named, *(f"{name}={value}" for name, value in more)))
    return ",".join((f"type={entry.type}", *(f"{name}={value}" for name, value in sorted(entry.attributes.items()))))


def _imported(entry: CacheEntry) -> str:
    """ "" for a directory in which there is no cache yet."""
    if entry.type == "local" and "digest" not in entry.attributes:
        return ""
    return _cache(entry, INPUT, _cache_name(entry))


def _cache_name(entry: CacheEntry) -> str:
    return f"cache {entry.attributes.get('digest', '')}"


def _caches(entries: Iterable[CacheEntry]) -> Iterable[tuple[str, StoredImage]]:
    for entry in entries:
        digest = entry.attributes.get("digest", "")
        if entry.type == "local" and digest:
            try:
                found = StoredImage(f"{LOCAL_STORE}{entry.attributes.get('src', '')}", Digest.parse(digest))
            except InvalidDigestError as exc:
                raise InvalidParameterError(f"invalid digest {digest!r} of a build cache") from exc
            yield _cache_name(entry), found


def _quoted(text: str) -> str:
    """``text`` as a value between commas."""
    if "," in text:
        raise NotSupportedError(f"a build cache in {text}: a comma in its name")
    return text


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
