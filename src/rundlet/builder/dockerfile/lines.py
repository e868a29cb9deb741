"""A Dockerfile's logical lines: directives, comments, continuations, here-documents.

See: docs.docker.com/reference/dockerfile, Format, Parser directives, Here-documents.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from rundlet.builder.dockerfile.ast import Directives, Heredoc, Position, Warning_
from rundlet.builder.dockerfile.errors import DockerfileError, DockerfileSyntaxError
from rundlet.builder.dockerfile.heredocs import marks_in
from rundlet.builder.dockerfile.words import json_words, split_keyword

_DIRECTIVE: Final = re.compile(r"#[ \t\f\r\v]*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+)", re.DOTALL)
_DIRECTIVES: Final = frozenset(("escape", "syntax", "check"))
_WITH_HEREDOCS: Final = frozenset(("add", "copy", "run"))
_LONGEST: Final = 65535
_BOM: Final = "\ufeff"


class Line(msgspec.Struct, frozen=True):
    """One instruction before anybody knows what it means. ``keyword`` as written; ``text`` what follows keyword and
    flags; ``original`` the whole, continuations joined."""

    keyword: str
    flags: tuple[str, ...]
    text: str
    original: str
    position: Position
    comments: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    escape: str


class Reader:
    """Reads a file once. After :meth:`lines` has ended, ``directives`` and ``warnings`` are complete."""

    def __init__(self, text: str) -> None:
        self._rows = _rows(text.removeprefix(_BOM))
        self._next = 0
        self._seeking = True
        self._comments: list[str] = []
        self.directives = Directives()
        self.warnings: list[Warning_] = []

    def lines(self) -> Iterator[Line]:
        """Raises DockerfileSyntaxError."""
        found = False
        while (row := self._row()) is not None:
            start = self._next
            text = row.strip() if row.lstrip().startswith("#") else row.lstrip()
            self._directive(text)
            if self._is_comment(text) or not text.strip():
                continue
            found = True
            yield self._logical(text, start)
            self._comments = []
        if not found:
            raise DockerfileSyntaxError("file with no instructions", max(self._next, 1))

    def _row(self, *, raw: bool = False) -> str | None:
        """The next physical line, without its end unless ``raw``."""
        if self._next >= len(self._rows):
            return None
        row = self._rows[self._next]
        self._next += 1
        if len(row) > _LONGEST:
            raise DockerfileSyntaxError(f"dockerfile line greater than max allowed size of {_LONGEST}", self._next)
        return row if raw else row.removesuffix("\n").removesuffix("\r")

    def _is_comment(self, text: str) -> bool:
        if not text.startswith("#"):
            if not text:
                self._comments = []
            return False
        comment = text[1:].strip()
        if comment:
            self._comments.append(comment)
        else:
            self._comments = []
        return True

    def _directive(self, text: str) -> None:
        """Directives come before everything else: the first line that is none ends them."""
        if not self._seeking:
            return
        match = _DIRECTIVE.match(text)
        name = match[1].lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            self._seeking = False
            return
        known, value = self.directives, match[2].strip()
        if name in known.lines:
            raise DockerfileSyntaxError(f"only one {name} parser directive can be used", self._next)
        if name == "escape" and value not in ("\\", "`"):
            raise DockerfileSyntaxError(f"invalid escape token '{value}' does not match ` or \\", self._next)
        places = {**known.lines, name: Position(self._next, self._next)}
        self.directives = msgspec.structs.replace(known, lines=places, **{name: value})

    def _logical(self, first: str, start: int) -> Line:
        line, goes_on = self._continued(first)
        pieces = [line]
        empty_at = 0
        while goes_on and (row := self._row()) is not None:
            stripped = row.lstrip()
            if stripped.startswith("#"):
                continue
            if not stripped:
                empty_at = empty_at or self._next
                continue
            piece, goes_on = self._continued(row)
            pieces.append(piece)
        text = "".join(pieces)
        try:
            keyword, flags, rest = split_keyword(text)
            heredocs = self._heredocs(keyword.lower(), text, rest, start)
        except DockerfileError as exc:
            raise exc.at(start, self._next) from None
        position = Position(start, self._next)
        if empty_at:
            # Said of where the instruction ends, as BuildKit does.
            end = Position(self._next, self._next)
            self.warnings.append(Warning_("NoEmptyContinuation", "Empty continuation line", end))
        return Line(
            keyword, flags, rest, text.strip(), position, tuple(self._comments), heredocs, self.directives.escape
        )

    def _continued(self, row: str) -> tuple[str, bool]:
        """``row`` without the escape at its end, and whether there was one. Two escapes are an escaped one."""
        trimmed = row.rstrip(" \t")
        escape = self.directives.escape
        if trimmed.endswith(escape) and trimmed[-2:-1] != escape:
            return trimmed[:-1], True
        return row, False

    def _heredocs(self, keyword: str, line: str, rest: str, start: int) -> tuple[Heredoc, ...]:
        if keyword == "onbuild":
            keyword, _, rest = split_keyword(rest)
            keyword = keyword.lower()
        if keyword not in _WITH_HEREDOCS or "<<" not in line or json_words(rest) is not None:
            return ()
        return tuple(msgspec.structs.replace(mark, text=self._document(mark, start)) for mark in marks_in(rest))

    def _document(self, mark: Heredoc, start: int) -> str:
        rows: list[str] = []
        while (row := self._row(raw=True)) is not None:
            end = row.rstrip("\r\n")
            if (end.lstrip("\t") if mark.chomp else end) == mark.name:
                return "".join(rows)
            rows.append(row)
        raise DockerfileSyntaxError("unterminated heredoc", start, self._next)


def _rows(text: str) -> list[str]:
    """Lines with their ends; only a newline ends one."""
    rows = [f"{row}\n" for row in text.split("\n")]
    rows[-1] = rows[-1][:-1]
    return rows if rows[-1] else rows[:-1]
