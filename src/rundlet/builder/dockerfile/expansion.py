"""Words: quotes, escapes and variables, with the modifiers that docker/dockerfile knows.

``${name}``, ``$name``, ``${name:-word}``, ``-``, ``:+``, ``+``, ``:?``, ``?``, ``#``, ``##``, ``%``, ``%%``, ``/``,
``//``.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.dockerfile.patterns import replace, trim_prefix, trim_suffix

_SPECIAL: Final = frozenset("@*#?-$!")
_DEEPEST: Final = 100
"""Levels of ``${a:-${b:-…}}``: more than anybody writes, and fewer than the interpreter's stack has."""


class Expander:
    """Replaces variables by the values of one environment.

    ``unmatched`` collects the names that were used and are not in it. ``keep_unset`` leaves those as they are written;
    ``keep_quotes`` leaves quotes and escapes.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        escape: str = "\\",
        *,
        keep_unset: bool = False,
        keep_quotes: bool = False,
    ) -> None:
        self.environment = environment
        self.escape = escape
        self.keep_unset = keep_unset
        self.keep_quotes = keep_quotes
        self.unmatched: set[str] = set()

    def word(self, text: str) -> str:
        """``text`` as one word. Raises DockerfileError."""
        return _Scan(self, text).whole()[0]

    def words(self, text: str) -> tuple[str, ...]:
        """``text`` as the words that blanks outside of quotes make of it, after variables are replaced."""
        return _Scan(self, text).whole()[1]

    def body(self, text: str) -> str:
        """The text of a heredoc: quotes mean nothing there, escapes and variables do."""
        return _Scan(self, text, quotes=False).whole()[0]


class _Words:
    """What a text has come to: the text itself, and the words in it."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._words: list[str] = []
        self._current: list[str] = []

    def plain(self, characters: str) -> None:
        """Characters of which blanks end a word."""
        self.text.append(characters)
        for character in characters:
            if character.isspace():
                self._end()
            else:
                self._current.append(character)

    def quoted(self, characters: str) -> None:
        """Characters that belong to the word whatever they are."""
        self.text.append(characters)
        self._current.append(characters)

    def _end(self) -> None:
        word = "".join(self._current)
        if word:
            self._words.append(word)
        self._current = []

    def result(self) -> tuple[str, tuple[str, ...]]:
        self._end()
        return "".join(self.text), tuple(self._words)


class _Scan:
    """One pass over one text."""

    def __init__(self, expander: Expander, text: str, *, quotes: bool = True) -> None:
        self._expander = expander
        self._text = text
        self._position = 0
        self._quotes = quotes
        self._depth = 0

    def whole(self) -> tuple[str, tuple[str, ...]]:
        try:
            return self._until("", raw_escapes=self._expander.keep_quotes)
        except DockerfileError as exc:
            shown = msgspec.json.encode(self._text).decode()
            raise DockerfileError(f"failed to process {shown}: {exc.why}") from None

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._text[self._position : self._position + 1]
        self._position += 1
        return character

    def _until(self, stop: str, *, raw_escapes: bool) -> tuple[str, tuple[str, ...]]:
        """Everything up to ``stop`` (the end of the text when that is empty)."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise DockerfileError("syntax error: substitutions are nested too deeply")
        result = _Words()
        while character := self._peek():
            if stop and character == stop:
                self._next()
                self._depth -= 1
                return result.result()
            if character == "$":
                result.plain(self._dollar())
            elif self._quotes and character == "'":
                result.quoted(self._single())
            elif self._quotes and character == '"':
                result.quoted(self._double(raw_escapes=raw_escapes))
            elif character == self._expander.escape:
                self._next()
                if raw_escapes:
                    result.quoted(character)
                # At the end of the text an escape is dropped.
                result.quoted(self._next())
            else:
                result.plain(self._next())
        if stop:
            raise _Unfinished(f"unexpected end of statement while looking for matching {stop}")
        return result.result()

    def _single(self) -> str:
        end = self._text.find("'", self._position + 1)
        if end < 0:
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        inner = self._text[self._position + 1 : end]
        self._position = end + 1
        return f"'{inner}'" if self._expander.keep_quotes else inner

    def _double(self, *, raw_escapes: bool) -> str:
        mark = '"' if self._expander.keep_quotes else ""
        self._next()
        pieces = [mark]
        while character := self._peek():
            if character == '"':
                self._next()
                return "".join([*pieces, mark])
            if character == "$":
                pieces.append(self._dollar())
                continue
            self._next()
            if character == self._expander.escape:
                following = self._peek()
                if raw_escapes:
                    pieces.append(character)
                if not following:
                    break
                # Within double quotes an escape counts only before what would be special there.
                if following in ('"', "$", self._expander.escape):
                    character = self._next()
                elif raw_escapes:
                    continue
            pieces.append(character)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _dollar(self) -> str:
        self._next()
        if self._peek() == "{":
            self._next()
            return self._braces()
        name = self._name()
        if not name:
            return "$"
        value = self._value(name)
        if value is None:
            return f"${name}" if self._expander.keep_unset else ""
        return value

    def _name(self) -> str:
        start = self._position
        first = self._peek()
        if first in _SPECIAL and first:
            return self._next()
        digits = first.isdigit()
        while (character := self._peek()) and (
            character.isdigit() if digits else character.isalpha() or character.isdigit() or character == "_"
        ):
            self._position += 1
        return self._text[start : self._position]

    def _value(self, name: str) -> str | None:
        value = self._expander.environment.get(name)
        if value is None:
            self._expander.unmatched.add(name)
        return value

    def _braces(self) -> str:
        start = self._position
        if self._peek() in ("{", "}", ":"):
            raise DockerfileError("syntax error: bad substitution")
        name = self._name()
        operator = self._next()
        if operator == "}":
            value = self._value(name)
            if value is None:
                return f"${{{name}}}" if self._expander.keep_unset else ""
            return value
        if not operator:
            raise DockerfileError("syntax error: missing '}'")
        empty_is_unset = operator == ":"
        shown = operator
        if empty_is_unset:
            operator = self._next()
            shown += operator
        if operator in ("-", "+", "?"):
            return self._default(name, operator, start, empty_is_unset=empty_is_unset)
        if not empty_is_unset and operator in ("#", "%"):
            return self._trimmed(name, operator, start)
        if not empty_is_unset and operator == "/":
            return self._replaced(name, start)
        raise DockerfileError(f"unsupported modifier ({shown}) in substitution")

    def _part(self, stop: str, *, raw_escapes: bool, missing: str) -> str:
        try:
            return self._until(stop, raw_escapes=raw_escapes)[0]
        except _Unfinished:
            raise DockerfileError(missing) from None

    def _default(self, name: str, operator: str, start: int, *, empty_is_unset: bool) -> str:
        value = self._value(name)
        word = self._part("}", raw_escapes=False, missing="syntax error: missing '}'")
        is_set = bool(value) if empty_is_unset else value is not None
        if operator == "-":
            return (value or "") if is_set else word
        if operator == "+":
            return word if is_set else ""
        if not is_set:
            reason = "is not allowed to be unset" if value is None else "is not allowed to be empty"
            raise DockerfileError(f"{name}: {word or reason}")
        return value or ""

    def _trimmed(self, name: str, operator: str, start: int) -> str:
        word = self._part("}", raw_escapes=True, missing="syntax error: missing '}'")
        value = self._value(name)
        if value is None:
            return "${" + self._text[start : self._position] if self._expander.keep_unset else ""
        longest = word.startswith(operator)
        trim = trim_prefix if operator == "#" else trim_suffix
        return trim(word[longest:], value, longest=longest)

    def _replaced(self, name: str, start: int) -> str:
        every = self._peek() == "/"
        if every:
            self._next()
        pattern = self._part("/", raw_escapes=True, missing="syntax error: missing '/' in ${}")
        replacement = self._part("}", raw_escapes=False, missing="syntax error: missing '}'")
        value = self._value(name)
        if value is None:
            return "${" + self._text[start : self._position] if self._expander.keep_unset else ""
        return replace(pattern, replacement, value, every=every)


class _Unfinished(DockerfileError):
    """The text ended inside of a substitution."""
