"""Regular expressions that a client sends, in time that grows with the text only.

Python's ``re`` goes back and tries again: ``^(a+)+$`` keeps an engine busy for years. Docker's are RE2's, which never
do. This is their syntax, as far as names and labels want it, matched by walking all possibilities side by side.
See: https://github.com/google/re2/wiki/Syntax
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

MOST_STATES: Final = 1000
"""Of one expression; each is visited once for a character of the text."""
MOST_CHARACTERS: Final = 10_000
MOST_REPEATS: Final = 1000
MOST_DEPTH: Final = 100

_Test = Callable[[str], bool]
_BEGIN, _END, _BOUNDARY, _INSIDE = "begin", "end", "boundary", "inside"
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_CLASSES: Final[dict[str, _Test]] = {
    "d": lambda c: "0" <= c <= "9",
    "s": lambda c: c in " \t\n\r\f",
    "w": lambda c: c == "_" or (c.isascii() and c.isalnum()),
}
_POSIX: Final[dict[str, _Test]] = {
    "alnum": lambda c: c.isascii() and c.isalnum(),
    "alpha": lambda c: c.isascii() and c.isalpha(),
    "digit": _CLASSES["d"],
    "lower": lambda c: "a" <= c <= "z",
    "punct": lambda c: "!" <= c <= "~" and not c.isalnum(),
    "space": lambda c: c in " \t\n\r\f\v",
    "upper": lambda c: "A" <= c <= "Z",
    "word": _CLASSES["w"],
    "xdigit": lambda c: c in "0123456789abcdefABCDEF",
}


class PatternError(Exception):
    """``str(error)``: what is wrong with the expression, in Go's words."""


class _Step(NamedTuple):
    """A state: what a character must be (``test``), or what must hold here (``where``); then on to ``to``."""

    to: tuple[int, ...]
    test: _Test | None = None
    where: str = ""


class _Node(NamedTuple):
    """A part of the expression: ``kind`` is test, where, join, either or repeat."""

    kind: str
    parts: tuple["_Node", ...] = ()
    test: _Test | None = None
    where: str = ""
    least: int = 0
    most: int = -1  # any number


class Expression:
    """One expression, ready to be searched for. Raises: PatternError."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MOST_CHARACTERS:
            raise PatternError("expression too large")
        self._steps: list[_Step] = [_Step(())]  # 0: matched
        self._begin = self._make(_Parser(pattern).whole(), 0)

    def search(self, text: str) -> bool:
        """Whether the expression matches anywhere in ``text``."""
        current: set[int] = set()
        for position in range(len(text) + 1):
            current.add(self._begin)
            current = self._closed(current, text, position)
            if 0 in current:
                return True
            if position < len(text):
                character = text[position]
                steps = (self._steps[number] for number in current)
                current = {to for step in steps if step.test is not None and step.test(character) for to in step.to}
        return False

    def _closed(self, states: set[int], text: str, position: int) -> set[int]:
        """With all that is reached without a further character."""
        found: set[int] = set()
        todo = list(states)
        while todo:
            number = todo.pop()
            if number in found:
                continue
            found.add(number)
            step = self._steps[number]
            if step.test is None and (not step.where or _holds(step.where, text, position)):
                todo.extend(step.to)
        return found

    def _add(self, step: _Step) -> int:
        if len(self._steps) >= MOST_STATES:
            raise PatternError("expression too large")
        self._steps.append(step)
        return len(self._steps) - 1

    def _make(self, node: _Node, after: int) -> int:
        """The state at which ``node`` begins; ``after`` is where it leads."""
        if node.kind == "test":
            return self._add(_Step((after,), node.test))
        if node.kind == "where":
            return self._add(_Step((after,), None, node.where))
        if node.kind == "join":
            for part in reversed(node.parts):
                after = self._make(part, after)
            return after
        if node.kind == "either":
            return self._add(_Step(tuple(self._make(part, after) for part in node.parts)))
        return self._repeated(node, after)

    def _repeated(self, node: _Node, after: int) -> int:
        (part,) = node.parts
        if node.most < 0:
            loop = self._add(_Step(()))
            self._steps[loop] = _Step((self._make(part, loop), after))
            after = loop
        for _ in range(node.most - node.least):
            after = self._add(_Step((self._make(part, after), after)))
        for _ in range(node.least):
            after = self._make(part, after)
        return after


def _holds(where: str, text: str, position: int) -> bool:
    if where == _BEGIN:
        return position == 0
    if where == _END:
        return position == len(text)
    word = _CLASSES["w"]
    before = position > 0 and word(text[position - 1])
    behind = position < len(text) and word(text[position])
    return (before != behind) == (where == _BOUNDARY)


class _Parser:
    """One pass over an expression."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._folds = False
        self._depth = 0

    def whole(self) -> _Node:
        found = self._either()
        if self._at < len(self._pattern):
            raise PatternError(f"unexpected ): `{self._pattern}`")
        return found

    def _next(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _taken(self, text: str) -> bool:
        if self._pattern.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _either(self) -> _Node:
        parts = [self._join()]
        while self._taken("|"):
            parts.append(self._join())
        return parts[0] if len(parts) == 1 else _Node("either", tuple(parts))

    def _join(self) -> _Node:
        parts: list[_Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeats(self._atom()))
        return _Node("join", tuple(parts))

    def _repeats(self, node: _Node) -> _Node:
        """``node`` with the repetition that follows it; how greedy one is says nothing about whether it matches."""
        begin = self._at
        counts = self._counts()
        if counts is None:
            return node
        self._taken("?")
        if self._counts() is not None:
            raise PatternError(f"invalid nested repetition operator: `{self._pattern[begin : self._at]}`")
        return _Node("repeat", (node,), least=counts[0], most=counts[1])

    def _counts(self) -> tuple[int, int] | None:
        for sign, counts in (("*", (0, -1)), ("+", (1, -1)), ("?", (0, 1))):
            if self._taken(sign):
                return counts
        return self._braces() if self._next() == "{" else None

    def _braces(self) -> tuple[int, int] | None:
        """``{2}``, ``{2,}``, ``{2,3}``; anything else in braces is itself."""
        text, closed, _ = self._pattern[self._at + 1 :].partition("}")
        first, comma, last = text.partition(",")
        if not closed or not _number(first) or (last and not _number(last)):
            return None
        least = int(first)
        most = int(last) if last else (-1 if comma else least)
        if max(least, most) > MOST_REPEATS or 0 <= most < least:
            raise PatternError(f"invalid repeat count: `{{{text}}}`")
        self._at += len(text) + 2
        return least, most

    def _atom(self) -> _Node:
        character = self._next()
        self._at += 1
        if character == "(":
            return self._group()
        if character == "[":
            return _Node("test", test=self._class())
        if character == ".":
            return _Node("test", test=lambda c: c != "\n")
        if character in "^$":
            return _Node("where", where=_BEGIN if character == "^" else _END)
        if character in "*+?":
            raise PatternError(f"missing argument to repetition operator: `{character}`")
        if character == "\\":
            return self._escape()
        return self._literal(character)

    def _literal(self, character: str) -> _Node:
        if self._folds:
            return _Node("test", test=lambda c: c.casefold() == character.casefold())
        return _Node("test", test=lambda c: c == character)

    def _group(self) -> _Node:
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise PatternError("expression nests too deeply")
        folds = self._folds
        if self._taken("?"):
            begin = self._at
            while self._next() not in ("", ":", ")", ">"):
                self._at += 1
            flags, end = self._pattern[begin : self._at], self._next()
            self._at += 1
            if flags.startswith(("P<", "<")):
                known = end == ">"
            else:
                known = end in (":", ")") and end != "" and set(flags) <= set("i")
                self._folds = folds or "i" in flags
            if not known:
                raise PatternError(f"invalid or unsupported Perl syntax: `(?{flags}{end}`")
            if end == ")":
                self._depth -= 1
                return _Node("join")  # flags for what follows
        found = self._either()
        if not self._taken(")"):
            raise PatternError(f"missing closing ): `{self._pattern}`")
        self._folds = folds
        self._depth -= 1
        return found

    def _escape(self) -> _Node:
        character = self._next()
        self._at += 1
        for letters, where in (("A", _BEGIN), ("z", _END), ("b", _BOUNDARY), ("B", _INSIDE)):
            if character == letters:
                return _Node("where", where=where)
        if character.lower() in _CLASSES:
            return _Node("test", test=_negated(_CLASSES[character.lower()], character.isupper()))
        return self._literal(self._escaped(character))

    def _escaped(self, character: str) -> str:
        if not character:
            raise PatternError("trailing backslash at end of expression: ``")
        if character in _ESCAPED:
            return _ESCAPED[character]
        if character == "x":
            braces = self._taken("{")
            digits = self._pattern[self._at :].partition("}")[0] if braces else self._pattern[self._at : self._at + 2]
            self._at += len(digits) + braces
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                raise PatternError(f"invalid escape sequence: `\\x{digits}`") from None
        if character.isascii() and character.isalnum():
            raise PatternError(f"invalid escape sequence: `\\{character}`")
        return character

    def _class(self) -> _Test:
        """``[a-z_\\d[:alpha:]]``, after its bracket."""
        begin = self._at - 1
        negated = self._taken("^")
        tests: list[_Test] = []
        first = True
        while first or self._next() != "]":
            if not self._next():
                raise PatternError(f"missing closing ]: `{self._pattern[begin:]}`")
            first = False
            tests.append(self._member())
        self._at += 1
        return _negated(_any(tests, folds=self._folds), negated)

    def _member(self) -> _Test:
        for name, test in _POSIX.items():
            if self._taken(f"[:{name}:]"):
                return test
            if self._taken(f"[:^{name}:]"):
                return _negated(test, True)
        character = self._next()
        self._at += 1
        if character == "\\":
            character = self._next()
            self._at += 1
            if character.lower() in _CLASSES:
                return _negated(_CLASSES[character.lower()], character.isupper())
            character = self._escaped(character)
        last = character
        if self._next() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("", "]"):
            self._at += 1
            last = self._next()
            self._at += 1
            if last == "\\":
                letter = self._next()
                self._at += 1
                last = self._escaped(letter)
            if last < character:
                raise PatternError(f"invalid character class range: `{character}-{last}`")
        return lambda c: character <= c <= last


def _number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def _negated(test: _Test, negated: bool) -> _Test:
    return (lambda c: not test(c)) if negated else test


def _any(tests: list[_Test], *, folds: bool) -> _Test:
    def one(character: str) -> bool:
        forms: Iterator[str] = iter({character, character.lower(), character.upper()} if folds else (character,))
        return any(test(form) for form in forms for test in tests)

    return one


@lru_cache(maxsize=64)
def expression(pattern: str) -> Expression:
    """``pattern``, read once. Raises: PatternError."""
    return Expression(pattern)
