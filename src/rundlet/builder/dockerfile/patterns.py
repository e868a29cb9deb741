"""Shell patterns of ``${name#pattern}``, ``${name%pattern}`` and ``${name/pattern/text}``: ``*`` and ``?`` only.

Matching takes time in proportion to the text, whatever the pattern: the parts between stars are literals and single
wildcards, so taking each at its first (or, for the longest match, the last one at its last) place is exact and nothing
is ever tried again.
"""

import re
from typing import Final

from rundlet.builder.dockerfile.errors import DockerfileError

_ANY: Final = "."


class Pattern:
    """A pattern, ready to search with. Raises DockerfileError for an escape that means nothing."""

    def __init__(self, text: str) -> None:
        parts: list[list[str]] = [[]]
        position = 0
        while position < len(text):
            character = text[position]
            position += 1
            if character == "*":
                parts.append([])
                continue
            if character == "?":
                parts[-1].append(_ANY)
                continue
            if character == "\\":
                following = text[position : position + 1]
                position += 1
                if following not in ("*", "?", "\\", "}", "/") or not following:
                    raise DockerfileError(f"invalid pattern ({text}) in substitution: invalid escape '\\{following}'")
                character = following
            parts[-1].append(re.escape(character))
        self._parts = [re.compile("".join(part), re.DOTALL) for part in parts]
        # Only literals and single wildcards, so a reversed part is a part.
        self._backwards = re.compile("".join(reversed(parts[-1])), re.DOTALL)

    def prefix(self, text: str, *, longest: bool) -> int | None:
        """Where the match that starts at the beginning of ``text`` ends."""
        first = self._parts[0].match(text)
        return None if first is None else self._rest(text, first.end(), longest=longest)

    def search(self, text: str, start: int) -> tuple[int, int] | None:
        """The first, and there the longest, match from ``start`` on."""
        first = self._parts[0].search(text, start)
        if first is None:
            return None
        end = self._rest(text, first.end(), longest=True)
        return None if end is None else (first.start(), end)

    def _rest(self, text: str, position: int, *, longest: bool) -> int | None:
        if len(self._parts) == 1:
            return position
        for part in self._parts[1:-1]:
            match = part.search(text, position)
            if match is None:
                return None
            position = match.end()
        if longest:
            found = self._backwards.search(text[position:][::-1])
            return None if found is None else len(text) - found.start()
        match = self._parts[-1].search(text, position)
        return None if match is None else match.end()


def trim_prefix(pattern: str, text: str, *, longest: bool) -> str:
    """``${text#pattern}`` or, with ``longest``, ``${text##pattern}``."""
    end = Pattern(pattern).prefix(text, longest=longest)
    return text if end is None else text[end:]


def trim_suffix(pattern: str, text: str, *, longest: bool) -> str:
    """``${text%pattern}`` or, with ``longest``, ``${text%%pattern}``."""
    end = Pattern(_reversed(pattern)).prefix(text[::-1], longest=longest)
    return text if end is None else text[: len(text) - end]


def replace(pattern: str, replacement: str, text: str, *, every: bool) -> str:
    """``${text/pattern/replacement}`` or, with ``every``, ``${text//pattern/replacement}``."""
    matcher = Pattern(pattern)
    pieces: list[str] = []
    position = 0
    while position <= len(text):
        found = matcher.search(text, position)
        if found is None:
            break
        start, end = found
        pieces += [text[position:start], replacement]
        if end == start:
            # An empty match: go on behind the next character.
            pieces.append(text[end : end + 1])
            end += 1
        position = end
        if not every:
            break
    return "".join(pieces) + text[position:]


def _reversed(pattern: str) -> str:
    """The pattern that matches the reversed text: escapes stay in front of what they escape."""
    units = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join(reversed(units))
