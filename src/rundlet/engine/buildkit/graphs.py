"""Build graphs (LLB) that clients hand in as contexts: each that is one source, fetched from somewhere, is understood.

What a build of ours comes to is a graph for its client, too: one source whose name nobody else knows. A client that
wants it as a context of another build (bake's ``target:``, Compose's ``service:``) hands it in again.

See: https://github.com/moby/buildkit/blob/master/solver/pb/ops.proto
"""

import hashlib
from typing import Final

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


def result_of(source: SourceOperation) -> str:
    """The other way round: the name; "" for any other source."""
    return source.identifier.removeprefix(_RESULT) if source.identifier.startswith(_RESULT) else ""


def source_of(definition: Definition) -> SourceOperation:
    """The one source that a graph is. Raises NotSupportedError: it is more; InvalidParameterError: it is no graph."""
    if not definition.operations:
        raise InvalidParameterError("a build graph without operations")
    if len(definition.operations) > _OPERATIONS:
        raise InvalidParameterError("a build graph of too many operations")
    known = {f"sha256:{hashlib.sha256(data).hexdigest()}": data for data in definition.operations}
    last = decode(Operation, definition.operations[-1])
    if len(last.inputs) != 1 or last.inputs[0].digest not in known:
        raise InvalidParameterError("a build graph whose last operation names no result")
    wanted = decode(Operation, known[last.inputs[0].digest])
    if wanted.source is None:
        kind = next((what for name, what in _KINDS if getattr(wanted, name) is not None), "an unknown operation")
        raise NotSupportedError(f"a build graph that the client made by itself (LLB), of {kind}")
    return wanted.source
