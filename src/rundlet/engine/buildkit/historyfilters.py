"""Filters of the list of builds: ``status==error``, ``ref~=abc,startedAt>1h``.

What is between commas must all hold; of several filters one must.
"""

import csv
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from rundlet.api.buildkit import BuildRecord
from rundlet.api.protobuf import Timestamp
from rundlet.builder.dockerfile.durations import duration_ns
from rundlet.errors import InvalidParameterError
from rundlet.transport.http2.grpc import Code

_TERM: Final = re.compile(r"([A-Za-z]+)(==|!=|~=|<=|>=|<|>|=)(.*)", re.DOTALL)
_SECOND: Final = 10**9
_TIMES: Final = frozenset({"startedAt", "completedAt"})
_WORDS: Final = frozenset({"ref", "repository", "status"})
Matches = Callable[[BuildRecord], bool]


def parse(texts: Sequence[str]) -> Matches:
    """Raises InvalidParameterError."""
    alternatives = [[_term(term) for row in csv.reader([text]) for term in row] for text in texts if text]

    def matches(record: BuildRecord) -> bool:
        return not alternatives or any(all(holds(record) for holds in terms) for terms in alternatives)

    return matches


def _term(text: str) -> Matches:
    found = _TERM.fullmatch(text)
    if found is None:
        raise InvalidParameterError(f"invalid filter {text!r} of the build history")
    key, operator, value = found.groups()
    if key in _WORDS and operator in ("==", "=", "!=", "~="):
        return _word(key, operator, value)
    if (key in _TIMES or key == "duration") and operator in ("<", "<=", ">", ">="):
        return _number(key, operator, value)
    raise InvalidParameterError(f"invalid filter {text!r} of the build history")


def _word(key: str, operator: str, value: str) -> Matches:
    read = {"ref": lambda record: record.ref, "repository": _repository, "status": status}[key]
    if operator == "~=":
        return lambda record: value in read(record)
    return lambda record: (read(record) == value) != (operator == "!=")


def status(record: BuildRecord) -> str:
    """``running``, ``completed``, ``canceled`` or ``error``."""
    if record.completed is None:
        return "running"
    if record.error is None:
        return "completed"
    return "canceled" if record.error.code == Code.CANCELLED else "error"


def _repository(record: BuildRecord) -> str:
    return record.attributes.get("vcs:source") or record.attributes.get("context", "").partition("#")[0]


def _number(key: str, operator: str, value: str) -> Matches:
    wanted = _wanted(key, value)

    def matches(record: BuildRecord) -> bool:
        actual = _actual(key, record)
        if actual is None:
            return False
        return {
            "<": actual < wanted,
            "<=": actual <= wanted,
            ">": actual > wanted,
            ">=": actual >= wanted,
        }[operator]

    return matches


def _wanted(key: str, value: str) -> int:
    """Nanoseconds: of a time, also one that was so long ago, or of a duration."""
    try:
        duration = duration_ns(value)
        return time.time_ns() - duration if key in _TIMES else duration
    except ValueError:
        try:
            return int(datetime.fromisoformat(value).timestamp() * _SECOND)
        except (ValueError, OverflowError) as exc:
            raise InvalidParameterError(f"invalid {key} {value!r} in a filter of the build history") from exc


def _actual(key: str, record: BuildRecord) -> int | None:
    if key == "startedAt":
        return nanoseconds(record.created)
    ended = nanoseconds(record.completed) if record.completed is not None else None
    if key == "completedAt" or ended is None:
        return ended
    return ended - nanoseconds(record.created)


def nanoseconds(at: Timestamp | None) -> int:
    return at.seconds * _SECOND + at.nanos if at is not None else 0
