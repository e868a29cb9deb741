"""What is asked about a Dockerfile instead of a build of it (``build --call``), and the answers as BuildKit words them.

An answer is a document for programs and a text for people; ``check`` has an exit status, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from rundlet.api import jsonstream
from rundlet.api.builds import BuildOptions
from rundlet.api.jsonstream import JSONMessage
from rundlet.builder.dockerfile.arguments import platform_arguments
from rundlet.builder.dockerfile.ast import Position
from rundlet.builder.dockerfile.outline import Need, Outline, outline
from rundlet.engine.builds.checks import Verdict
from rundlet.engine.builds.contexts import Read
from rundlet.engine.builds.requests import platforms
from rundlet.errors import NotSupportedError
from rundlet.oci.platform import Platform

CHECK: Final = "check"
_CALL: Final = "rundlet.build.call"
_KINDS: Final = {
    "lint": CHECK,
    "check": CHECK,
    "outline": "outline",
    "targets": "targets",
    "subrequests.describe": "describe",
}
_RULE_PAGE: Final = "https://docs.docker.com/go/dockerfile/rule/"
_VERSION: Final = "1.0.0"
_OFFERS: Final = (
    ("frontend.lint", "Lint a Dockerfile", ()),
    ("frontend.outline", "List all parameters current build target supports", (("target", "Target build stage"),)),
    ("frontend.targets", "List all targets current build supports", ()),
    ("frontend.subrequests.describe", "List available subrequest types", ()),
)


class Answer(msgspec.Struct, frozen=True):
    """``status`` is the exit code that goes with it."""

    document: bytes
    text: str
    status: int = 0

    def message(self) -> JSONMessage:
        """As Rundlet's own command line reads it."""
        return jsonstream.aux(
            {"ID": _CALL, "Document": self.document.decode(), "Text": self.text, "Status": self.status}
        )

    def metadata(self) -> dict[str, bytes]:
        """As BuildKit's clients read it."""
        found = {"result.json": self.document, "result.txt": self.text.encode(), "version": _VERSION.encode()}
        return {**found, "result.statuscode": str(self.status).encode()}


def kind_of(call: str) -> str:
    """What ``call`` (with or without ``frontend.`` before it) asks for. Raises NotSupportedError."""
    try:
        return _KINDS[call.removeprefix("frontend.")]
    except KeyError:
        raise NotSupportedError(f"the call {call} of a build") from None


def answer(call: str, found: Read, verdict: Verdict, options: BuildOptions) -> Answer:
    """``verdict`` is that of ``found``, for a check. Raises NotSupportedError, DockerfileError."""
    kind = kind_of(call)
    if kind == CHECK:
        return checked(found.text, verdict, options)
    if kind == "outline":
        automatic = platform_arguments(Platform.host(), platforms(options)[-1], options.target)
        return _outline(outline(found.dockerfile, options.target, options.build_args, automatic), found.text)
    if kind == "targets":
        return _targets(found)
    return describe()


def _answer(document: Any, text: str, status: int = 0) -> Answer:
    return Answer(msgspec.json.format(msgspec.json.encode(document), indent=2), text, status)


def _location(position: Position) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": position.line}, "end": {"line": position.end}}]}


# ── the rules of style ───────────────────────────────────────────────────────────────────────────────────────────


def checked(file: str, verdict: Verdict, options: BuildOptions) -> Answer:
    """The answer to a check of the text ``file``."""
    warnings, wrong = verdict.warnings, verdict.wrong
    name = options.dockerfile or "Dockerfile"
    rows = [
        {
            "ruleName": one.rule,
            "url": f"{_RULE_PAGE}{_dashed(one.rule)}/",
            "detail": one.text,
            "location": _location(one.position),
        }
        for one in warnings
    ]
    document: dict[str, Any] = {
        "warnings": rows or None,
        "sources": [{"filename": name, "data": file.encode(), "language": "Dockerfile"}],
    }
    if wrong is not None:
        place = _location(Position(wrong.line, wrong.end)) if wrong.line else {}
        document["buildError"] = {"message": str(wrong), "location": place}
    text = "".join(
        f"\nWARNING: {row['ruleName']} - {row['url']}\n{row['detail']}\n{_excerpt(file, name, one.position)}"
        for row, one in zip(rows, warnings, strict=True)
    )
    return _answer(document, text, 1 if rows or wrong is not None else 0)


def _excerpt(text: str, name: str, position: Position) -> str:
    """The lines around ``position``, those that are meant marked."""
    lines = text.splitlines()
    first, last = _padded(position.line, position.end, len(lines))
    rule = "--------------------\n"
    shown = "".join(
        f" {number:3} | {'>>>' if position.line <= number <= position.end else '   '} {lines[number - 1]}\n"
        for number in range(first, last + 1)
    )
    return f"{name}:{position.line}\n{rule}{shown}{rule}"


def _padded(first: int, last: int, count: int) -> tuple[int, int]:
    """BuildKit's choice of lines around: two on each side of a single one, one of several; more where a side ends."""
    budget = 4 if first == last else 2
    used = 0
    while used < budget:
        used += 1 + int(first > 1) + int(last < count)
        first, last = max(first - 1, 1), min(last + 1, count)
    return first, last


def _dashed(rule: str) -> str:
    """``JSONArgsRecommended`` as the address of its page has it: ``json-args-recommended``."""
    out = ""
    for index, letter in enumerate(rule):
        before, after = rule[max(index - 1, 0) : index], rule[index + 1 : index + 2]
        begins = before.islower() or (after.islower() and before.isupper())
        out += f"-{letter.lower()}" if letter.isupper() and begins else letter.lower()
    return out


# ── targets and their parameters ─────────────────────────────────────────────────────────────────────────────────


def _outline(found: Outline, text: str) -> Answer:
    arguments = [
        _filled(name=one.name, description=one.description, value=one.value, location=_location(one.position))
        for one in found.arguments
    ]
    document = _filled(
        name=found.name,
        description=found.description,
        args=arguments,
        secrets=_needs(found.secrets),
        ssh=_needs(found.agents),
        sources=[text.encode()],
    )
    shown = ""
    if found.name or found.description:
        rows = [("TARGET:", found.name or "(default)")]
        rows += [("DESCRIPTION:", found.description)] if found.description else []
        shown += _table(rows, 1) + "\n"
    if found.arguments:
        rows3 = [("BUILD ARG", "VALUE", "DESCRIPTION")]
        rows3 += [(one.name, one.value, one.description) for one in found.arguments]
        shown += _table(rows3, 3) + "\n"
    for title, needs in (("SECRET", found.secrets), ("SSH", found.agents)):
        if needs:
            rows = [(title, "REQUIRED"), *((one.name, "true" if one.required else "") for one in needs)]
            shown += _table(rows, 3) + "\n"
    return _answer(document, shown)


def _needs(needs: Sequence[Need]) -> list[Mapping[str, Any]]:
    return [_filled(name=one.name, required=one.required, location=_location(one.position)) for one in needs]


def _filled(**values: Any) -> dict[str, Any]:
    """Those that say something."""
    return {name: value for name, value in values.items() if value}


def _targets(found: Read) -> Answer:
    stages = found.dockerfile.stages
    rows = [("TARGET", "DESCRIPTION")]
    targets = []
    for stage in stages:
        default = stage is stages[-1]
        targets.append(
            _filled(
                name=stage.name,
                default=default,
                description=stage.comment,
                base=stage.base,
                platform=stage.platform,
                location=_location(stage.position),
            )
        )
        mark = "(default)" if default else ""
        rows.append((f"{stage.name} {mark}".strip(), stage.comment))
    return _answer({"targets": targets, "sources": [found.text.encode()]}, _table(rows, 1))


def describe() -> Answer:
    """What can be asked."""
    outputs = [{"name": name, "description": ""} for name in ("result.json", "result.txt")]
    document = [
        {
            "name": name,
            "version": _VERSION,
            "type": "rpc",
            "description": description,
            "opts": [{"name": option, "description": what} for option, what in options] or None,
            "inputs": None,
            "metadata": outputs,
            "refs": None,
        }
        for name, description, options in _OFFERS
    ]
    rows = [("NAME", "VERSION", "DESCRIPTION")]
    rows += [(name.removeprefix("frontend."), _VERSION, description) for name, description, _ in _OFFERS]
    return _answer(document, _table(rows, 1))


def _table(rows: Sequence[tuple[str, ...]], padding: int) -> str:
    """Columns as wide as their widest word and ``padding``; the last one as it is."""
    widths = [max(len(row[column]) for row in rows) + padding for column in range(len(rows[0]) - 1)]

    def line(row: tuple[str, ...]) -> Iterator[str]:
        for word, width in zip(row, widths, strict=False):
            yield word.ljust(width)
        yield row[-1]

    return "".join(f"{''.join(line(row))}\n" for row in rows)
