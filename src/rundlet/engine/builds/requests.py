"""From the API's query to what the builder is asked to do; what can't be carried out is refused here, by name."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from rundlet.api.builds import BuildOptions, Output
from rundlet.builder.dockerfile.arguments import MULTI_PLATFORM
from rundlet.builder.dockerfile.ast import Dockerfile
from rundlet.builder.namedcontexts import of_platform
from rundlet.builder.request import BuildRequest, Limits
from rundlet.engine.builds import attestations, indexes, packing
from rundlet.engine.builds.packing import BY_DIGEST, STORE, by_digest, is_stored, is_true
from rundlet.errors import InvalidParameterError, NotSupportedError
from rundlet.image import naming
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference

OUTPUTS = frozenset({"image", "docker", "oci", "tar", "local", "cacheonly"})
SPLIT = "platform-split"
"""The attribute of outputs that are files: each platform's in a directory of its own."""
_FILES = frozenset({"tar", "local"})
UNPACK = "unpack"
"""The attribute of an image whose layers are to be directories, too. What a build makes begins as one and stays one,
nothing is unpacked for either answer."""
REWRITE = "rewrite-timestamp"
_IMAGES = packing.ATTRIBUTES | {"name", REWRITE}
_ATTRIBUTES = dict.fromkeys(_FILES, frozenset({"name", SPLIT})) | {
    "image": _IMAGES | {"push", BY_DIGEST, "name-canonical", STORE, UNPACK},
    "docker": _IMAGES,
    "oci": _IMAGES | {"tar"},
}
_ALLOWED = frozenset({"network.host", "security.insecure"})


def check(options: BuildOptions) -> None:
    """Raises InvalidParameterError, NotSupportedError."""
    if options.version not in ("", "1"):
        raise InvalidParameterError(f"invalid version {options.version}")
    if options.isolation not in ("", "default"):
        raise InvalidParameterError(f"unsupported isolation: {msgspec.json.encode(options.isolation).decode()}")
    for tag in options.tags:
        _tag(tag)
    for entitlement in options.allow:
        if entitlement not in _ALLOWED:
            raise NotSupportedError(f"the entitlement {entitlement}")
    for output in options.outputs:
        if output.type not in OUTPUTS:
            raise NotSupportedError(f"output type {output.type}")
        for name in output.attrs:
            if name not in _ATTRIBUTES.get(output.type, {"name"}):
                raise NotSupportedError(f"attribute {name} of output type {output.type}")
        for name in (SPLIT, "push", BY_DIGEST, "name-canonical", "tar", STORE, UNPACK):
            is_true(output.attrs.get(name, "true"))
        for name in names_of(output) if by_digest(output) else ():
            if not Reference.parse(name).name_only:
                raise TaggedByDigestError(Reference.parse(name).canonical)
    packing.packings(options.outputs)
    indexes.parse_annotations(options.annotations)
    attestations.parse(options.attests)
    flag_of(options, MULTI_PLATFORM)
    if len(platforms(options)) > 1:
        _check_several(options)
    for output in options.outputs:
        # What the build adds has no later times wherever there is such a date.
        if (wanted := output.attrs.get(REWRITE, "")) and not is_true(wanted) and _is_dated(options):
            raise NotSupportedError(f"{REWRITE}={wanted} with SOURCE_DATE_EPOCH")
    for source in options.cache_from:
        cache_reference(source, "cache-from")
    for target in options.cache_to:
        cache_reference(target, "cache-to")
    if options.memory < 0 or 0 < options.memory < (6 << 20):
        raise InvalidParameterError("Minimum memory limit allowed is 6MB")


def without_effect(options: BuildOptions) -> list[str]:
    """What is asked for and changes nothing, in words for the user."""
    if _is_dated(options) or not any(is_true(output.attrs.get(REWRITE) or "false") for output in options.outputs):
        return []
    return [f"{REWRITE}=true has no effect without SOURCE_DATE_EPOCH"]


def _is_dated(options: BuildOptions) -> bool:
    return bool(options.build_args.get("SOURCE_DATE_EPOCH"))


LOCAL = "input:"
"""What a directory of the client's is called that was sent before the build; the client fetches one by itself."""


def cache_reference(text: str, flag: str) -> str:
    """The image that a ``--cache-from`` or ``--cache-to`` means; "" for the build's own (inline); for a directory what
    begins with :data:`LOCAL`. Raises InvalidParameterError, NotSupportedError.
    """
    if "=" not in text:
        return Reference.parse(text).with_default_tag().familiar
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    kind = fields.pop("type", "")
    place = {"local": "src" if flag == "cache-from" else "dest", "registry": "ref"}.get(kind)
    if place is None and kind != "inline":
        raise NotSupportedError(f"--{flag} of type {kind or text}")
    if place is not None and fields.pop("mode", "min") not in ("min", "max"):
        raise InvalidParameterError(f"invalid value for mode in --{flag} {text}")
    if (kind, flag) == ("registry", "cache-to"):
        is_true(fields.pop(_MAY_FAIL, "false"))
    found = fields.pop(place, "") if place is not None else ""
    for name in fields:
        raise NotSupportedError(f"attribute {name} of --{flag} {text}")
    if kind == "registry":
        return Reference.parse(found).with_default_tag().familiar
    return LOCAL + found.removeprefix(LOCAL) if kind == "local" else ""


_MAY_FAIL: Final = "ignore-error"


def may_fail(cache_to: str) -> bool:
    """Whether the build is good without it."""
    return is_true(dict(field.partition("=")[::2] for field in cache_to.split(",")).get(_MAY_FAIL, "false"))


def is_whole(cache_to: str) -> bool:
    """Whether all stages are to be in it (``mode=max``)."""
    return "mode=max" in cache_to.split(",")


class TaggedByDigestError(InvalidParameterError):
    reason = "push-tag-by-digest"

    def __init__(self, name: str) -> None:
        super().__init__(f"can't push tagged ref {name} by digest")


def names_of(output: Output) -> list[str]:
    return [name for name in output.attrs.get("name", "").split(",") if name]


def _tag(text: str) -> Reference:
    reference = Reference.parse(text)
    if reference.digest is not None:
        raise InvalidParameterError("refusing to create a tag with a digest reference")
    naming.check(reference)
    return reference.with_default_tag()


def build_request(
    options: BuildOptions, dockerfile: Dockerfile, secrets: Mapping[str, bytes], ssh: Mapping[str, str]
) -> BuildRequest:
    """Raises InvalidParameterError."""
    epoch = options.build_args.get("SOURCE_DATE_EPOCH")
    if epoch and not epoch.isdigit():
        raise InvalidParameterError(f"invalid SOURCE_DATE_EPOCH: {epoch}")
    return BuildRequest(
        dockerfile=dockerfile,
        tags=names_by(options, options.outputs),
        target=options.target,
        arguments=options.build_args,
        labels=options.labels,
        platform=platforms(options)[-1],
        platform_given=bool(options.platform),
        no_cache=options.no_cache,
        no_cache_stages=frozenset(options.no_cache_filter),
        pull=options.pull,
        squash=options.squash,
        network=options.network_mode,
        extra_hosts=options.extra_hosts,
        limits=_limits(options),
        security=options.security,
        keep_containers=not options.remove and not options.force_remove,
        keep_failed=not options.force_remove and not options.rich,
        secrets=secrets,
        ssh=ssh,
        contexts=options.contexts,
        signed_only=options.signed_only,
        cache_from=tuple(filter(None, (cache_reference(text, "cache-from") for text in options.cache_from))),
        insecure_allowed="security.insecure" in options.allow,
        host_network_allowed=not options.rich or "network.host" in options.allow or options.network_mode == "host",
        epoch=int(epoch) if epoch else None,
        buildkit=options.rich,
    )


def _limits(options: BuildOptions) -> Limits:
    return Limits(
        memory=options.memory,
        memory_swap=options.memory_swap,
        cpu_shares=options.cpu_shares,
        cpu_period=options.cpu_period,
        cpu_quota=options.cpu_quota,
        cpuset_cpus=options.cpuset_cpus,
        cpuset_mems=options.cpuset_mems,
        shm_size=options.shm_size,
        cgroup_parent=options.cgroup_parent,
        ulimits=tuple((limit.name, limit.soft, limit.hard) for limit in options.ulimits),
    )


def stays(options: BuildOptions) -> bool:
    """Whether what the build comes to is more than cache."""
    return not options.outputs or any(map(is_stored, options.outputs))


def names_here(options: BuildOptions) -> tuple[Reference, ...]:
    """What the result is called here afterwards: nothing where it only leaves. Raises InvalidReferenceError."""
    outputs = [output for output in options.outputs if output.type in packing.KINDS and is_stored(output)]
    if options.outputs and not outputs:
        return ()
    return names_by(options, outputs)


def names_by(options: BuildOptions, outputs: Iterable[Output]) -> tuple[Reference, ...]:
    """What ``outputs`` call the result, but for those that know it by its digest. Raises InvalidReferenceError."""
    named = (output for output in outputs if not by_digest(output))
    names = [tag for output in named for tag in names_of(output)]
    return tuple(dict.fromkeys(_tag(tag) for tag in (*options.tags, *names)))


def travels(options: BuildOptions) -> bool:
    """Whether the result leaves as an image, to a registry or as an archive, or its cache does."""
    return bool(options.cache_to) or any(
        output.type in ("docker", "oci") or is_true(output.attrs.get("push", "false")) for output in options.outputs
    )


def platforms(options: BuildOptions) -> tuple[Platform, ...]:
    """What is built for, each once; this machine's own last, so that names of base images end up meaning that.

    Raises InvalidPlatformError.
    """
    host = Platform.host()
    found = dict.fromkeys(Platform.parse(text).normalized() for text in options.platform.split(",") if text)
    return tuple(sorted(found, key=host.matches)) or (host,)


def flag_of(options: BuildOptions, argument: str) -> bool:
    """Whether the build ``argument`` that speaks to the builder says yes. Raises InvalidParameterError."""
    value = options.build_args.get(argument)
    return is_true(value) if value else False


def _check_several(options: BuildOptions) -> None:
    for output in options.outputs:
        if not is_true(output.attrs.get(SPLIT, "true")):
            raise NotSupportedError(f"{SPLIT}=false of several platforms")


def with_platform(request: BuildRequest, platform: Platform, *, given: bool) -> BuildRequest:
    """``request`` for one of its platforms, with the contexts that it has for that."""
    contexts = of_platform(request.contexts, platform)
    return msgspec.structs.replace(request, platform=platform, platform_given=given, contexts=contexts)
