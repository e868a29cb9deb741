"""Words of a Dockerfile instruction: quoting, variables, Go durations."""

import re
from collections.abc import Mapping
from typing import Final

from rundlet.image.errors import BadChangeError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9*#@!?-]")
_DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}


def split_raw(text: str) -> list[str]:
    """Words separated by blanks outside of quotes, quotes and backslashes kept."""
    words: list[str] = []
    current = ""
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'" and position + 1 < len(text):
            current += text[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in " \t":
            if current:
                words.append(current)
            current = ""
            position += 1
            continue
        current += character
        position += 1
    return [*words, current] if current else words


def expand(text: str, environment: Mapping[str, str]) -> str:
    """``text`` without its quotes and with its variables replaced. Raises BadChangeError for what is left open."""
    result: list[str] = []
    position = 0
    quote = ""
    while position < len(text):
        character = text[position]
        if quote == "'":
            quote = "" if character == "'" else quote
            result.append(character if character != "'" else "")
        elif character == "\\" and position + 1 < len(text):
            following = text[position + 1]
            # Within double quotes a backslash escapes only what would be special there.
            result.append(following if not quote or following in '"$\\' else character + following)
            position += 1
        elif character == "$":
            value, position = _variable(text, position + 1, environment)
            result.append(value)
            continue
        elif character == '"' or (character == "'" and not quote):
            quote = "" if quote else character
        else:
            result.append(character)
        position += 1
    if quote:
        raise BadChangeError(f"unexpected end of statement while looking for matching {_quote_name(quote)}")
    return "".join(result)


def _quote_name(quote: str) -> str:
    return "double-quote" if quote == '"' else "single-quote"


def _variable(text: str, position: int, environment: Mapping[str, str]) -> tuple[str, int]:
    if text[position : position + 1] != "{":
        match = _NAME.match(text, position)
        if match is None:
            return "$", position
        return environment.get(match[0], ""), match.end()
    end = _closing(text, position + 1)
    inner = text[position + 1 : end]
    match = _NAME.match(inner)
    if match is None:
        raise BadChangeError(f"bad substitution in ${{{inner}}}")
    name, modifier = match[0], inner[match.end() :]
    if not modifier:
        return environment.get(name, ""), end + 1
    empty_too = modifier.startswith(":")
    operator, word = modifier[empty_too : empty_too + 1], modifier[empty_too + 1 :]
    present = bool(environment.get(name)) if empty_too else name in environment
    if operator == "-":
        return environment.get(name, "") if present else expand(word, environment), end + 1
    if operator == "+":
        return expand(word, environment) if present else "", end + 1
    if operator == "?":
        if not present:
            raise BadChangeError(f"{name}: {expand(word, environment) or 'is not allowed to be unset'}")
        return environment[name], end + 1
    raise BadChangeError(f"unsupported modifier ({modifier[:1]}) in substitution")


def _closing(text: str, position: int) -> int:
    depth = 1
    while position < len(text):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return position
        position += 1
    raise BadChangeError("syntax error: missing '}'")


def duration_ns(text: str) -> int | None:
    """A Go duration (``1m30s``) in nanoseconds; None when it is none."""
    if text == "0":
        return 0
    total = 0.0
    position = 0
    while position < len(text):
        match = _DURATION_PART.match(text, position)
        if match is None:
            return None
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    return int(total) if text else None
