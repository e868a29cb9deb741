"""What is said when a build fails, and what ``--check`` found."""

from __future__ import annotations

from rundlet.cli.building.excerpt import excerpt
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.building.sources import Source
    from rundlet.cli.building.steps import Step, Steps

_RULE = "------\n"
_LOG_LINES = 20
_PARSE_ERROR = "parse error on line "
_RULE_PAGE = "https://docs.docker.com/go/dockerfile/rule/"


def build_error(
    message: str, detail: dict[str, Any], source: Source, steps: Steps, *, warnings: bool = True
) -> CommandError:
    """The error at a build's end: the failed step and its last lines, ``warnings`` so far, the place in the Dockerfile,
    the message."""
    failed = steps.failed
    said = _last_lines(failed) if failed is not None else ""
    warned = warnings_text(steps.warnings) if warnings else ""
    where = _place(message, detail, source)
    return CommandError(f"{said}{warned}{where}ERROR: failed to build: failed to solve: {message}")


def check_error(message: str, detail: dict[str, Any], source: Source) -> CommandError:
    """The error of ``--check``: the message, and the place in the Dockerfile."""
    return CommandError(f"ERROR: {message}\n{_place(message, detail, source)}".rstrip("\n"))


def _place(message: str, detail: dict[str, Any], source: Source) -> str:
    location = detail.get("Location") or {}
    line, end = int(location.get("line") or 0), int(location.get("end") or 0)
    if not line:
        line = end = line_in(message)
    text = _text(source, detail)
    return excerpt(text, source.shown, line, end) if text else ""


def _text(source: Source, detail: dict[str, Any]) -> str:
    if source.dockerfile is not None:
        return source.dockerfile.decode("utf-8", "replace")
    return str(detail.get("Excerpt") or "")


def line_in(message: str) -> int:
    """The line that a complaint about the Dockerfile names; 0 for none."""
    _, found, rest = message.partition(_PARSE_ERROR)
    digits = rest.partition(":")[0]
    return int(digits) if found and digits.isdecimal() else 0


def _last_lines(step: Step) -> str:
    lines = step.lines[-_LOG_LINES:]
    return f"{_RULE} > {step.name}:\n" + "".join(f"{line}\n" for line in lines) + _RULE


def check_report(warnings: list[dict[str, Any]], source: Source, text: str) -> str:
    """What ``--check`` prints for the rules that were broken."""
    if not warnings:
        return "Check complete, no warnings found.\n"
    count = len(warnings)
    plural = "1 warning has" if count == 1 else f"{count} warnings have"
    parts = [f"Check complete, {plural} been found!\n"]
    for warning in sorted(warnings, key=lambda one: int(one.get("line") or 0)):
        rule = str(warning.get("rule"))
        where = excerpt(text, source.shown, int(warning.get("line") or 0), int(warning.get("end") or 0))
        parts.append(f"\nWARNING: {rule} - {_RULE_PAGE}{_dashed(rule)}/\n{warning.get('text')}\n{where}")
    return "".join(parts) + "\n"


def warnings_text(warnings: list[dict[str, Any]]) -> str:
    """The warnings of a build that succeeded, for its end; empty when there are none."""
    from binascii import a2b_base64

    if not warnings:
        return ""
    texts = [a2b_base64(str(warning.get("short") or "")).decode("utf-8", "replace") for warning in warnings]
    title = "1 warning found" if len(texts) == 1 else f"{len(texts)} warnings found"
    return f"\n {title} (use --check to see where):\n" + "".join(f" - {text}\n" for text in texts)


def _dashed(rule: str) -> str:
    """``JSONArgsRecommended`` as the address of its page has it: ``json-args-recommended``."""
    out = ""
    for index, letter in enumerate(rule):
        after = rule[index + 1 : index + 2]
        before = rule[index - 1 : index]
        if index and letter.isupper() and (before.islower() or (after.islower() and before.isupper())):
            out += "-"
        out += letter.lower()
    return out
