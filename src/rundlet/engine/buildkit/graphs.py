"""Build graphs (LLB) that clients hand in as contexts: each that is one source, fetched from somewhere, is understood.

What a build of ours comes to is a graph for its client, too: one source whose name nobody else knows. A client that
wants it as a context of another build (bake's ``target:``, Compose's ``service:``) hands it in again.

See: https://github.com/moby/buildkit/blob/master/solver/pb/ops.proto
"""

import hashlib
import posixpath
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from rundlet.api.buildkit import Definition, Input, Operation, OperationMetadata, SourceOperation
from rundlet.api.protobuf import decode, encode
from rundlet.errors import InvalidParameterError, NotSupportedError

_RESULT: Final = "rundlet-result://"
_OPERATIONS: Final = 10_000
_KINDS: Final = (
    ("run", "a command"),
    ("files", "files that are copied or made"),
    ("build", "a nested build"),
    ("merge", "layers that are merged"),
    ("difference", "the difference of layers"),
)


def definition_of(result: str) -> Definition:
    """The graph that stands for ``result``, a name of ours."""
    source = encode(Operation(source=SourceOperation(f"{_RESULT}{result}")))
    digest = f"sha256:{hashlib.sha256(source).hexdigest()}"
    return Definition((source, encode(Operation((Input(digest),)))), {digest: OperationMetadata()})


class Source(msgspec.Struct, frozen=True):
    """Where a graph comes from; ``unpacked``: as an archive, what is in it; of ``directory`` in it."""

    identifier: str
    attributes: Mapping[str, str] = {}
    unpacked: bool = False
    directory: str = ""


def result_of(source: Source) -> str:
    """The other way round: the name; "" for any other source."""
    return source.identifier.removeprefix(_RESULT) if source.identifier.startswith(_RESULT) else ""


def source_of(definition: Definition) -> Source:
    """The one source that a graph is. Raises NotSupportedError: it is more; InvalidParameterError: it is no graph."""
    if not definition.operations:
        raise InvalidParameterError("a build graph without operations")
    if len(definition.operations) > _OPERATIONS:
        raise InvalidParameterError("a build graph of too many operations")
    known = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in definition.operations}
    wanted = _input(known, decode(Operation, definition.operations[-1]), 0)
    if wanted.source is not None:
        return Source(wanted.source.identifier, wanted.source.attributes)
    actions = wanted.files.actions if wanted.files is not None else ()
    copy = actions[0].copy if len(actions) == 1 and actions[0].first < 0 else None
    if copy is not None and (copy.unpack or (copy.contents and posixpath.normpath(copy.destination) in (".", "/"))):
        origin = _input(known, wanted, actions[0].second).source
        if origin is not None and (copy.unpack or origin.identifier.startswith("git://")):
            directory = "" if copy.unpack else posixpath.normpath(f"/{copy.source}").strip("/")
            return Source(origin.identifier, origin.attributes, copy.unpack, directory)
    kind = next((what for name, what in _KINDS if getattr(wanted, name) is not None), "an unknown operation")
    raise NotSupportedError(f"a build graph that the client made by itself (LLB), of {kind}")


def _input(known: Mapping[str, bytes], operation: Operation, number: int) -> Operation:
    if not 0 <= number < len(operation.inputs) or operation.inputs[number].digest not in known:
        raise InvalidParameterError("a build graph with an operation that needs another one, which isn't there")
    return decode(Operation, known[operation.inputs[number].digest])


def location_of(source: Source) -> str:
    """The URL that a git or HTTP source is fetched from; "" for any other."""
    kind, _, rest = source.identifier.partition("://")
    if kind in ("http", "https"):
        return source.identifier
    if kind != "git":
        return ""
    path, _, fragment = rest.partition("#")
    if source.directory:
        reference, _, inside = fragment.partition(":")
        fragment = f"{reference}:{posixpath.join(inside, source.directory)}"
    asked = source.attributes
    query = {
        "checksum": asked.get("git.checksum", ""),
        "keep-git-dir": asked.get("git.keepgitdir", ""),
        "submodules": "false" if asked.get("git.skipsubmodules") == "true" else "",
        "subdir": asked.get("git.subdir", ""),
    }
    text = urlencode({name: value for name, value in query.items() if value})
    return (
        f"{asked.get('git.fullurl') or f'https://{path}'}{'?' if text else ''}{text}{'#' if fragment else ''}{fragment}"
    )
