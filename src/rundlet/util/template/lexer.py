"""A template's text as tokens: literal text, and the words inside ``{{ }}``.

Trim markers and comments are dealt with here; what reaches the parser is text as it will be printed.
"""

from __future__ import annotations

from math import isinf

from rundlet.util.template.errors import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN, CLOSE = "{{", "}}"
BLANK = " \t\r\n"
TEXT, LEFT, RIGHT, SPACE, FIELD, VARIABLE, IDENTIFIER, KEYWORD, NUMBER, STRING, CHARACTER, PUNCTUATION, END = range(13)
ERROR = 13
"""What is no token; the token's ``error`` says why. What is wrong before it is said first."""
KEYWORDS = frozenset("block break continue define else end if range nil template with".split())
DIGITS = "0123456789"
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
# A number's digits by how it begins, and the letter before its exponent.
_BASES = {"0x": (DIGITS + "abcdefABCDEF", "p"), "0o": ("01234567", ""), "0b": ("01", "")}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


class Token:
    """``kind`` is one of the constants above; ``value`` is the word, or a literal's value; ``source`` is how that is
    written."""

    __slots__ = ("error", "kind", "offset", "source", "value")

    def __init__(
        self, kind: int, value: str, offset: int, source: str = "", error: TemplateError | None = None
    ) -> None:
        self.kind = kind
        self.value = value
        self.offset = offset
        self.source = source or value
        self.error = error


def tokens(text: str) -> Iterator[Token]:
    """All tokens, an END or an ERROR last."""
    try:
        yield from _tokens(text)
    except TemplateError as exc:
        yield Token(ERROR, "", len(text), error=exc)


def _tokens(text: str) -> Iterator[Token]:
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
        lexer = _Action(text, position)
        yield from lexer.run()
        position, trim = lexer.position, lexer.trim


def _comment(text: str, start: int, position: int) -> tuple[int, bool]:
    """Behind a comment, and whether blanks after it go."""
    end = text.find("*/", position + 2)
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

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position
        self.trim = False
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
                raise TemplateError(text, at, "unclosed action")
            letter = text[at]
            if letter in BLANK:
                while self.position < len(text) and text[self.position] in BLANK and not self._trims(self.position):
                    self.position += 1
                yield Token(SPACE, " ", at)
            elif letter in "\"`'":
                yield self._quoted(letter)
            elif letter == "." and text[at + 1 : at + 2] not in tuple(DIGITS):
                yield self._field()
            elif letter in DIGITS or letter in "+-.":
                yield self._number()
            elif letter == "$":
                self._word(at + 1)
                self._terminated()
                yield Token(VARIABLE, text[at : self.position], at)
            elif letter.isalpha() or letter == "_":
                yield self._identifier()
            else:
                yield self._punctuation()

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

    def _terminated(self) -> None:
        """A word must end at a blank, a delimiter or a punctuation."""
        end = self.position
        if end < len(self.text) and self.text[end] not in BLANK + ".,|:()" and not self.text.startswith(CLOSE, end):
            raise TemplateError(self.text, end, f"bad character {_code_point(self.text[end])}")

    def _field(self) -> Token:
        at = self.position
        self._word(at + 1)
        self._terminated()
        if self.position == at + 1:
            return Token(PUNCTUATION, ".", at)
        return Token(FIELD, self.text[at + 1 : self.position], at, self.text[at : self.position])

    def _identifier(self) -> Token:
        at = self.position
        self._word(at)
        self._terminated()
        word = self.text[at : self.position]
        return Token(KEYWORD if word in KEYWORDS else IDENTIFIER, word, at)

    def _number(self) -> Token:
        """What looks like a number; whether it is one, the parser says."""
        text, at = self.text, self.position
        end = at + (text[at] in "+-")
        base = text[end : end + 2].lower()
        digits, exponent = _BASES.get(base, (DIGITS, "e"))
        end = _run(text, end + 2 * (base in _BASES), digits + "_")
        if text[end : end + 1] == ".":
            end = _run(text, end + 1, digits + "_")
        if exponent and text[end : end + 1] in (exponent, exponent.upper()):
            end += 1 + (text[end + 1 : end + 2] in ("+", "-"))
            end = _run(text, end, DIGITS + "_")
        end += text[end : end + 1] == "i"
        follower = text[end : end + 1]
        if follower in ("+", "-") or follower == "_" or follower.isalnum() or end == at + (text[at] in "+-"):
            raise TemplateError(text, at, f"bad number syntax: {go_quote(text[at : end + 1])}")
        self.position = end
        return Token(NUMBER, text[at:end], at)

    def _quoted(self, mark: str) -> Token:
        text, at = self.text, self.position
        end = at + 1
        if mark == "`":
            end = text.find("`", end)
            if end < 0:
                raise TemplateError(text, at, "unterminated raw quoted string")
            self.position = end + 1
            return Token(STRING, text[at + 1 : end], at, text[at : end + 1])
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
            return Token(CHARACTER, value, at, text[at : end + 1])
        return Token(STRING, value, at, text[at : end + 1])

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
        if self.text[at].isascii() and self.text[at].isprintable():
            self.position += 1
            return Token(PUNCTUATION, self.text[at], at)
        raise TemplateError(self.text, at, f"unrecognized character in action: {_code_point(self.text[at])}")


def _run(text: str, at: int, letters: str) -> int:
    """Behind as many of ``letters`` as come at ``at``."""
    while text[at : at + 1] in tuple(letters):
        at += 1
    return at


def _code_point(letter: str) -> str:
    return f"U+{ord(letter):04X} '{letter}'" if letter.isprintable() else f"U+{ord(letter):04X}"


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
    """A Go number literal's value; None when it is none, or none that Go has room for."""
    number = _number(word)
    if isinstance(number, float) and isinf(number):
        return None
    if isinstance(number, int) and not -(2**63) <= number < 2**64:
        return None
    return number


def _number(word: str) -> int | float | None:
    text = word.replace("_", "") if "__" not in word and not word.endswith("_") else word
    try:
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits[0] == "0" and digits.isdigit():
            return int(text, 8)
        return int(text, 0)
    except ValueError:
        pass
    try:
        if not set(text.lower()) & set(".ep"):
            return None
        if "x" in text.lower():
            return float.fromhex(text) if "p" in text.lower() else None
        if not all(letter in "0123456789+-.eE" for letter in text):
            return None
        return float(text)
    except ValueError:
        return None
