"""A template's text as tokens: literal text, and the words inside ``{{ }}``.

Trim markers and comments are dealt with here; what reaches the parser is text as it will be printed.
"""

from __future__ import annotations

from rundlet.util.template.errors import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN, CLOSE = "{{", "}}"
BLANK = " \t\r\n"
TEXT, LEFT, RIGHT, SPACE, FIELD, VARIABLE, IDENTIFIER, KEYWORD, NUMBER, STRING, CHARACTER, PUNCTUATION, END = range(13)
KEYWORDS = frozenset("block break continue define else end if range nil template with".split())
PUNCTUATIONS = (":=", "=", "|", "(", ")", ",", ".")
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


class Token:
    """``kind`` is one of the constants above; ``value`` is the word, or a literal's value."""

    __slots__ = ("kind", "offset", "value")

    def __init__(self, kind: int, value: str, offset: int) -> None:
        self.kind = kind
        self.value = value
        self.offset = offset


def tokens(text: str) -> Iterator[Token]:
    """All tokens, an END last. Raises TemplateError."""
    position = 0
    trim = False
    while True:
        start = text.find(OPEN, position)
        literal = text[position:] if start < 0 else text[position:start]
        lead = position
        if trim:
            lead += len(literal) - len(literal.lstrip(BLANK))
            literal = literal.lstrip(BLANK)
        if start < 0:
            if literal:
                yield Token(TEXT, literal, lead)
            yield Token(END, "", len(text))
            return
        position = start + len(OPEN)
        if text[position : position + 1] == "-" and text[position + 1 : position + 2] in tuple(BLANK):
            literal = literal.rstrip(BLANK)
            position += 1
        if literal:
            yield Token(TEXT, literal, lead)
        after_blank = position + len(text[position:]) - len(text[position:].lstrip(BLANK))
        if text.startswith("/*", position) or (text[position - 1] == "-" and text.startswith("/*", after_blank)):
            position, trim = _comment(text, start, after_blank)
            continue
        yield Token(LEFT, OPEN, start)
        lexer = _Action(text, position, start)
        yield from lexer.run()
        position, trim = lexer.position, lexer.trim


def _comment(text: str, start: int, position: int) -> tuple[int, bool]:
    """Behind a comment, and whether blanks after it go."""
    end = text.find("*/", position)
    if end < 0:
        raise TemplateError(text, start, "unclosed comment")
    end += 2
    trim = False
    if text[end : end + 1] and text[end] in BLANK and text.startswith("-" + CLOSE, end + 1):
        end, trim = end + 2, True
    if not text.startswith(CLOSE, end):
        raise TemplateError(text, start, "comment ends before closing delimiter")
    return end + len(CLOSE), trim


class _Action:
    """The inside of one ``{{ }}``."""

    def __init__(self, text: str, position: int, start: int) -> None:
        self.text = text
        self.position = position
        self.trim = False
        self._start = start
        self._depth = 0

    def run(self) -> Iterator[Token]:
        text = self.text
        while True:
            at = self.position
            if self._closes(at):
                if self._depth:
                    raise TemplateError(text, at, "unclosed left paren")
                yield Token(RIGHT, CLOSE, at)
                return
            if at >= len(text):
                raise TemplateError(text, self._start, "unclosed action")
            letter = text[at]
            if letter in BLANK:
                while self.position < len(text) and text[self.position] in BLANK and not self._trims(self.position):
                    self.position += 1
                yield Token(SPACE, " ", at)
            elif letter in "\"`'":
                yield self._quoted(letter)
            elif letter == "." and not text[at + 1 : at + 2].isdigit():
                yield self._field()
            elif letter.isdigit() or (letter in "+-." and text[at + 1 : at + 2].isdigit()) or self._signed_fraction(at):
                yield self._number()
            elif letter == "$":
                self._word(at + 1)
                yield Token(VARIABLE, text[at : self.position], at)
            elif letter.isalpha() or letter == "_":
                yield self._identifier()
            else:
                yield self._punctuation()

    def _signed_fraction(self, at: int) -> bool:
        return self.text[at] in "+-" and self.text[at + 1 : at + 2] == "." and self.text[at + 2 : at + 3].isdigit()

    def _trims(self, at: int) -> bool:
        """Whether `` -}}`` begins here."""
        return self.text[at : at + 1] in tuple(BLANK) and self.text.startswith("-" + CLOSE, at + 1)

    def _closes(self, at: int) -> bool:
        """At ``}}`` or at `` -}}``: step over it."""
        if self.text.startswith(CLOSE, at):
            self.position = at + len(CLOSE)
            return True
        if self._trims(at):
            self.position = at + 2 + len(CLOSE)
            self.trim = True
            return True
        return False

    def _word(self, at: int) -> None:
        while at < len(self.text) and (self.text[at].isalnum() or self.text[at] == "_"):
            at += 1
        self.position = at

    def _terminated(self, at: int) -> None:
        """A word must end at a blank, a delimiter or a punctuation."""
        end = self.position
        if end < len(self.text) and self.text[end] not in BLANK + ".,|:()=" and not self.text.startswith(CLOSE, end):
            raise TemplateError(self.text, end, f"bad character {_code_point(self.text[end])}")

    def _field(self) -> Token:
        at = self.position
        self._word(at + 1)
        if self.position == at + 1:
            return Token(PUNCTUATION, ".", at)
        self._terminated(at)
        return Token(FIELD, self.text[at + 1 : self.position], at)

    def _identifier(self) -> Token:
        at = self.position
        self._word(at)
        self._terminated(at)
        word = self.text[at : self.position]
        return Token(KEYWORD if word in KEYWORDS else IDENTIFIER, word, at)

    def _number(self) -> Token:
        at = end = self.position
        if self.text[end] in "+-":
            end += 1
        while end < len(self.text):
            letter = self.text[end]
            exponent = (
                letter in "+-" and self.text[end - 1] in "eEpP" and not self.text[at:end].lower().startswith("0x")
            )
            if not (letter.isalnum() or letter in "._" or exponent):
                break
            end += 1
        word = self.text[at:end]
        self.position = end
        if parse_number(word) is None:
            raise TemplateError(self.text, at, f"bad number syntax: {go_quote(word)}")
        return Token(NUMBER, word, at)

    def _quoted(self, mark: str) -> Token:
        text, at = self.text, self.position
        end = at + 1
        if mark == "`":
            end = text.find("`", end)
            if end < 0:
                raise TemplateError(text, at, "unterminated raw quoted string")
            self.position = end + 1
            return Token(STRING, text[at + 1 : end], at)
        out = []
        while True:
            if end >= len(text) or text[end] == "\n":
                kind = "character constant" if mark == "'" else "quoted string"
                raise TemplateError(text, at, f"unterminated {kind}")
            if text[end] == mark:
                break
            if text[end] == "\\":
                letter, end = self._escape(end + 1, at)
                out.append(letter)
            else:
                out.append(text[end])
                end += 1
        self.position = end + 1
        value = "".join(out)
        if mark == "'":
            if len(value) != 1:
                raise TemplateError(text, at, f"malformed character constant: {text[at : end + 1]}")
            return Token(CHARACTER, value, at)
        return Token(STRING, value, at)

    def _escape(self, at: int, start: int) -> tuple[str, int]:
        letter = self.text[at : at + 1]
        if letter in _ESCAPES and letter:
            return _ESCAPES[letter], at + 1
        try:
            if letter in _HEX_DIGITS and letter:
                end = at + 1 + _HEX_DIGITS[letter]
                digits = self.text[at + 1 : end]
                if len(digits) != _HEX_DIGITS[letter]:
                    raise ValueError(digits)
                return chr(int(digits, 16)), end
            return chr(int(self.text[at : at + 3], 8)), at + 3
        except (ValueError, OverflowError) as exc:
            raise TemplateError(self.text, start, "invalid escape in string constant") from exc

    def _punctuation(self) -> Token:
        at = self.position
        for mark in PUNCTUATIONS:
            if self.text.startswith(mark, at):
                self.position += len(mark)
                if mark == "(":
                    self._depth += 1
                elif mark == ")":
                    self._depth -= 1
                    if self._depth < 0:
                        raise TemplateError(self.text, at, "unexpected right paren")
                return Token(PUNCTUATION, mark, at)
        if self.text[at] == ":":
            raise TemplateError(self.text, at, "expected :=")
        raise TemplateError(self.text, at, f"unexpected {_code_point(self.text[at])} in action")


def _code_point(letter: str) -> str:
    return f"U+{ord(letter):04X} '{letter}'"


def go_quote(text: str) -> str:
    """``text`` as Go's %q prints it."""
    out = []
    names = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    for letter in text:
        if letter in '"\\':
            out.append("\\" + letter)
        elif letter in names:
            out.append(names[letter])
        elif letter.isprintable():
            out.append(letter)
        elif ord(letter) < 0x80:
            out.append(f"\\x{ord(letter):02x}")
        else:
            out.append(f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}")
    return '"' + "".join(out) + '"'


def parse_number(word: str) -> int | float | None:
    """A Go number literal's value; None when it is none."""
    text = word.replace("_", "") if "__" not in word and not word.endswith("_") else word
    try:
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            return int(text, 8)
        return int(text, 0)
    except ValueError:
        pass
    try:
        if "x" in text.lower():
            return float.fromhex(text) if "p" in text.lower() else None
        if not all(letter in "0123456789+-.eE" for letter in text):
            return None
        return float(text)
    except ValueError:
        return None
