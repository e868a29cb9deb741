"""``WWW-Authenticate`` as registries send it, parsed without backtracking. See: RFC 9110, 11.6.1."""

import msgspec

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Challenge(msgspec.Struct, frozen=True):
    """One way to authenticate: a lower-case scheme and its parameters (lower-case names)."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str) -> list[Challenge]:
    """All challenges of one header value; what can't be understood ends the list, it never raises."""
    challenges: list[Challenge] = []
    position = 0
    while True:
        position = _skip(header, position, " \t,")
        scheme, position = _token(header, position)
        if not scheme:
            return challenges
        parameters, position = _parameters(header, position)
        challenges.append(Challenge(scheme.lower(), parameters))


def _parameters(header: str, position: int) -> tuple[dict[str, str], int]:
    found: dict[str, str] = {}
    while True:
        start = _skip(header, position, " \t,")
        name, after = _token(header, start)
        after = _skip(header, after, " \t")
        if not name or header[after : after + 1] != "=":
            return found, start  # the next challenge's scheme, or the end
        after = _skip(header, after + 1, " \t=")  # token68, which may end with "==", has no value
        value, position = _quoted(header, after + 1) if header[after : after + 1] == '"' else _token(header, after)
        found[name.lower()] = value


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _token(text: str, position: int) -> tuple[str, int]:
    end = position
    while end < len(text) and text[end] in _TOKEN:
        end += 1
    return text[position:end], end


def _quoted(text: str, position: int) -> tuple[str, int]:
    parts: list[str] = []
    while position < len(text) and text[position] != '"':
        if text[position] == "\\" and position + 1 < len(text):
            position += 1
        parts.append(text[position])
        position += 1
    return "".join(parts), position + 1
