"""``.dockerignore``: which files of a context count. Standard library only, for the command line packs with it too.

The last pattern that matches a path or a directory above it decides; ``!`` in front takes it back in. Patterns are
those of Go's filepath.Match and ``**``: see docs.docker.com/build/concepts/context, .dockerignore files.

A match takes about linear time whatever the pattern: parts between stars are found once, at their first place (atomic
groups), which is exact for patterns of this kind.
"""

from __future__ import annotations

import posixpath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# No imports that a start of the command line would feel: typing never, re only when there is a pattern.
NAME = ".dockerignore"
NOTHING = -1
"""The state of a path that no pattern has matched."""
_LOOSEST = 4
"""Wildcards that take more than linear time, in one pattern."""
_WILD = frozenset("*[]?^\\")


class BadPatternError(ValueError):
    """A pattern that can't be read; the text is Docker's."""


class _Pattern:
    __slots__ = ("expression", "keeps", "match", "text")

    def __init__(self, text: str) -> None:
        import re

        self.keeps = text.startswith("!")
        if self.keeps:
            text = text[1:]
            if not text:
                raise BadPatternError('illegal exclusion pattern: "!"')
        self.text = text
        self.expression = _Translator(text).regex()
        self.match = re.compile(self.expression, re.DOTALL).match


class Patterns:
    """The patterns of one file, in order. Raises BadPatternError."""

    def __init__(self, lines: Iterable[str]) -> None:
        cleaned = (_clean(line.strip()) for line in lines)
        self._patterns = [_Pattern(line) for line in cleaned if line]
        self._keeping = [pattern.text for pattern in self._patterns if pattern.keeps]
        self._wild = any(_WILD & set(text) for text in self._keeping)

    @classmethod
    def read(cls, data: bytes) -> Patterns:
        """A .dockerignore file: one pattern a line, ``#`` at the very start of a line for comments."""
        text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        return cls(line for line in text.split("\n") if not line.startswith("#"))

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def lines(self) -> list[str]:
        """The patterns, cleaned, for somebody else who knows them."""
        return [f"{'!' if pattern.keeps else ''}{pattern.text}" for pattern in self._patterns]

    def rules(self) -> list[tuple[str, bool]]:
        """Each pattern as a regular expression (for a whole path, or that of a directory above), and whether it takes
        back in."""
        return [(pattern.expression, pattern.keeps) for pattern in self._patterns]

    def state(self, path: str, above: int = NOTHING) -> int:
        """Which pattern decides about ``path`` (relative, ``/`` between parts); ``above`` is its directory's state."""
        for index in range(len(self._patterns) - 1, above, -1):
            if self._patterns[index].match(path):
                return index
        return above

    def ignores(self, state: int) -> bool:
        """Whether a path in this state is left out."""
        return state != NOTHING and not self._patterns[state].keeps

    def ignored(self, path: str) -> bool:
        """Whether ``path`` is left out, by itself or with a directory above it."""
        state = NOTHING
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            state = self.state("/".join(parts[:end]), state)
        return self.ignores(state)

    def may_keep_below(self, directory: str) -> bool:
        """Whether a ``!`` pattern could take back in something below an ignored ``directory``."""
        if self._wild:
            return True
        return any(text.startswith(f"{directory}/") for text in self._keeping)


def _clean(line: str) -> str:
    """A pattern in normal form: no double or trailing slashes, no ``.`` parts, no slash in front."""
    mark = "!" if line.startswith("!") else ""
    text = line[len(mark) :].strip()
    if not text:
        return mark
    text = posixpath.normpath(text)
    text = text[1:] if text.startswith("//") else text
    return mark + (text[1:] if len(text) > 1 and text.startswith("/") else text)


class _Translator:
    """A pattern as a regular expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0

    def regex(self) -> str:
        # blocks[0], then for each "**/" a block that may begin here or behind any later slash. Within a block, parts
        # are divided by single stars.
        blocks: list[list[str]] = [[""]]
        tail = ""
        while self._position < len(self._pattern):
            character = self._pattern[self._position]
            self._position += 1
            if character == "*":
                if self._stars():
                    if self._position >= len(self._pattern):
                        tail = ".*"
                    elif blocks[-1] != [""] or len(blocks) == 1:
                        blocks.append([""])
                elif blocks[-1][-1] or len(blocks[-1]) == 1:
                    blocks[-1].append("")
            else:
                blocks[-1][-1] += self._single(character)
        last = len(blocks) - 1
        text = ""
        loose = 0
        for index, block in enumerate(blocks):
            # A block that ends with a slash ends where the next "**/" may begin anyway, so its first place will do; one
            # that ends within a name (a**b, which hardly anybody writes) has to be tried at all of them.
            final = index == last and not tail
            exact = final or block[-1].endswith("/") or (index == last and bool(tail))
            loose += 0 if exact else len(block)
            body = self._block(block, final=final, exact=exact)
            if index == 0:
                text += body
            elif exact and not final:
                text += f"(?>(?:.*?/)??{body})"
            else:
                text += f"(?:.*/)?{body}"
        if loose > _LOOSEST:
            raise BadPatternError("pattern has too many wildcards")
        return text + tail + r"\Z"

    def _stars(self) -> bool:
        """Whether it is ``**``; a slash behind it belongs to it. More stars are as two."""
        if self._pattern[self._position : self._position + 1] != "*":
            return False
        while self._pattern[self._position : self._position + 1] == "*":
            self._position += 1
        if self._pattern[self._position : self._position + 1] == "/":
            self._position += 1
        return True

    def _block(self, parts: list[str], *, final: bool, exact: bool) -> str:
        text = parts[0]
        for index, part in enumerate(parts[1:], 2):
            if not part or not exact or (final and index == len(parts)):
                text += f"[^/]*{part}"
            else:
                text += f"(?>[^/]*?{part})"
        return text

    def _single(self, character: str) -> str:
        if character == "?":
            return "[^/]"
        if character == "[":
            return self._class()
        if character == "\\":
            if self._position >= len(self._pattern):
                raise BadPatternError("syntax error in pattern")
            character = self._pattern[self._position]
            self._position += 1
        return _escaped(character)

    def _class(self) -> str:
        """``[a-z]``, ``[^a-z]``."""
        negated = self._pattern[self._position : self._position + 1] == "^"
        self._position += negated
        items = ""
        while self._pattern[self._position : self._position + 1] != "]":
            low = self._member()
            high = low
            if self._pattern[self._position : self._position + 1] == "-":
                self._position += 1
                high = self._member()
            if high < low:
                raise BadPatternError("syntax error in pattern")
            items += f"{_escaped(low)}-{_escaped(high)}"
        self._position += 1
        if not items:
            raise BadPatternError("syntax error in pattern")
        return f"[{'^' if negated else ''}{items}]"

    def _member(self) -> str:
        character = self._pattern[self._position : self._position + 1]
        self._position += 1
        if character == "\\":
            character = self._pattern[self._position : self._position + 1]
            self._position += 1
        elif character in ("-", "]"):
            character = ""
        if not character:
            raise BadPatternError("syntax error in pattern")
        return character


def _escaped(character: str) -> str:
    """One character as a regular expression for itself."""
    return character if character.isalnum() or character == "_" else f"\\{character}"
