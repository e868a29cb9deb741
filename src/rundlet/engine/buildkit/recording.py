"""From a build's request and its result to its record."""

from collections.abc import Sequence

import msgspec

from rundlet.api.buildkit import BuildRecord, Exporter, ResultInfo, SolveRequest, Status
from rundlet.api.protobuf import encode
from rundlet.engine.buildkit.history import History
from rundlet.engine.buildkit.progress import status_of
from rundlet.engine.buildkit.runs import Built

_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "in-toto.io/predicate-type"
_ERROR = "application/vnd.googeapis.google.rpc.status+proto"
"""BuildKit's own spelling."""


def exporters_of(request: SolveRequest) -> Sequence[Exporter]:
    """What older clients say in another way, too."""
    if request.exporters or not request.exporter:
        return request.exporters
    return (Exporter(request.exporter, request.exporter_attributes),)


class Record:
    """Of one build; none is kept of one that its client calls internal. ``built`` is what it has come to."""

    def __init__(self, history: History, request: SolveRequest) -> None:
        self._history = history
        self.built: Built | None = None
        self.recorder = None
        if not request.internal:
            asked = BuildRecord(
                ref=request.ref,
                frontend=request.frontend,
                attributes=request.frontend_attributes,
                exporters=tuple(exporters_of(request)),
            )
            self.recorder = history.begin(asked)

    def ended(self) -> None:
        """The build is over."""
        if self.recorder is None:
            return
        if self.built is None:
            self._history.forget(self.recorder)
            return
        infos = {
            platform: ResultInfo(
                attestations=(self.recorder.blob(_STATEMENT, predicate.encode(), **{_PREDICATE: kind}),)
            )
            for platform, (kind, predicate) in self.built.provenance.items()
        }
        changes: dict[str, object] = {"results": infos}
        if len(infos) == 1:
            changes = {"result": next(iter(infos.values()))}
        self._end(response=self.built.response, **changes)

    def failed(self, error: BaseException) -> None:
        """The build ended with ``error``."""
        if self.recorder is None:
            return
        status = status_of(error)
        blob = self.recorder.blob(_ERROR, encode(status)) if status.details else None
        self._end(error=Status(status.code, status.message), external_error=blob)

    def _end(self, **changes: object) -> None:
        assert self.recorder is not None
        self._history.end(self.recorder, msgspec.structs.replace(self.recorder.record, **changes))
