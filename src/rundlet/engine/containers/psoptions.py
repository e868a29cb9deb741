"""The options of ps(1) that ``top`` takes, in all three styles: ``-ef``, ``aux``, ``--sort=-rss``.

Which processes are shown is no question here: Docker, too, shows the container's and no others. Options that select
among them, or change more than columns and order, are refused by name.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rundlet.engine.containers.pscolumns import COLUMNS, Column, Reader, columns
from rundlet.errors import InvalidParameterError

_UNIX_ALL: Final = "eAadw"  # which processes, and how wide: nothing is cut here
_UNIX_FORMS: Final = "fFljy"
_UNIX_VALUES: Final = "oO"
_BSD_ALL: Final = "axgw"
_BSD_FORMS: Final = "ujl"
_BSD_VALUES: Final = "oOk"
_LONG: Final = {"--sort": "k", "--format": "o"}
_UNIX: Final = {
    "": columns("pid tname time ucmd"),
    "f": columns("USER pid ppid c stime tname time cmd"),
    "F": columns("USER pid ppid c sz rss psr stime tname time cmd"),
    "l": columns("f s uid pid ppid c opri ni addr sz wchan tname time ucmd"),
    "fl": columns("f s USER pid ppid c opri ni addr sz wchan stime tname time cmd"),
    "ly": columns("s uid pid ppid c opri ni rss sz wchan tname time ucmd"),
    "fly": columns("s USER pid ppid c opri ni rss sz wchan stime tname time cmd"),
    "j": columns("pid pgid sid tname time ucmd"),
    "fj": columns("USER pid ppid pgid sid c stime tname time cmd"),
}
_BSD: Final = {
    "": columns("pid tname stat bsdtime args"),
    "u": columns("user pid %cpu %mem vsz rss tname stat start_time bsdtime args"),
    "j": columns("ppid pid pgid sid tname tpgid stat uid bsdtime args"),
    "l": columns("f uid pid ppid priority ni vsz rss wchan stat tname bsdtime args"),
}
_DEFAULT: Final = "-ef"


class Listing(NamedTuple):
    """``order``: what to sort by, first things first, each with whether it is the other way round (``-rss``)."""

    columns: Sequence[Column]
    order: list[tuple[Reader, bool]]


class _Wishes:
    """What was asked for so far."""

    def __init__(self) -> None:
        self.unix: set[str] = set()
        self.bsd: set[str] = set()
        self.is_bsd = False
        self.own: list[Column] = []
        self.extra: list[Column] = []
        self.keys: list[str] = []

    def columns(self) -> Sequence[Column]:
        forms = (self.unix | self.bsd) - ({"f"} if self.own or self.extra else set())
        if len([given for given in (self.own, self.extra, forms) if given]) > 1 or (self.unix and self.bsd):
            raise InvalidParameterError("error: conflicting format options")
        if self.own:
            return self.own
        if self.extra:
            return [COLUMNS["pid"], *self.extra, *columns("s tname time args")]
        style, name = (_BSD, "".join(sorted(self.bsd))) if self.is_bsd and not self.unix else (_UNIX, self._unix_form())
        if name not in style:
            raise InvalidParameterError("error: conflicting format options")
        return style[name]

    def _unix_form(self) -> str:
        forms = self.unix - {"f"} if "F" in self.unix else self.unix
        return "".join(sorted(forms))


def parse(ps_args: str) -> Listing:
    """Raises InvalidParameterError."""
    wishes = _Wishes()
    words = iter((ps_args.strip() or _DEFAULT).split())
    for word in words:
        if word.startswith("--"):
            _long(word, words, wishes)
        elif word == "ef" or (word.startswith("-") and _is_unix(word[1:])):
            _unix(word.removeprefix("-"), words, wishes)
        else:
            _bsd(word.removeprefix("-"), word, words, wishes)
    found = wishes.columns()
    if not any(title == "PID" for title, _ in found):
        raise InvalidParameterError("Couldn't find PID field in ps output")
    return Listing(found, [_key(key) for key in wishes.keys])


def _is_unix(letters: str) -> bool:
    """As ps itself: what makes no sense with the dash is taken as if there were none (``-aux``, ``-x``)."""
    for letter in letters:
        if letter in _UNIX_VALUES:
            return True
        if letter not in _UNIX_ALL + _UNIX_FORMS:
            return False
    return bool(letters)


def _unix(letters: str, words: Iterator[str], wishes: _Wishes) -> None:
    for position, letter in enumerate(letters):
        if letter in _UNIX_VALUES:
            _value(letter, letters[position + 1 :] or next(words, ""), wishes)
            return
        if letter in _UNIX_FORMS:
            wishes.unix.add(letter)


def _bsd(letters: str, word: str, words: Iterator[str], wishes: _Wishes) -> None:
    if not letters:
        raise InvalidParameterError(f"ps option {word!r} is not supported by Rundlet's top")
    for position, letter in enumerate(letters):
        if letter in _BSD_VALUES:
            _value(letter, letters[position + 1 :] or next(words, ""), wishes)
            return
        if letter not in _BSD_ALL + _BSD_FORMS:
            raise InvalidParameterError(f"ps option {word!r} is not supported by Rundlet's top")
        wishes.is_bsd = True
        if letter in _BSD_FORMS:
            wishes.bsd.add(letter)


def _long(word: str, words: Iterator[str], wishes: _Wishes) -> None:
    option, equals, value = word.partition("=")
    if option not in _LONG:
        raise InvalidParameterError(f"ps option {word!r} is not supported by Rundlet's top")
    _value(_LONG[option], value if equals else next(words, ""), wishes)


def _value(letter: str, value: str, wishes: _Wishes) -> None:
    if letter == "k":
        wishes.keys += value.split(",")
    else:
        (wishes.own if letter == "o" else wishes.extra).extend(_named(value.removeprefix("=")))


def _named(value: str) -> Iterator[Column]:
    """``pid,comm``, or with a title of one's own, which goes to the end: ``comm=PROGRAM``."""
    names, equals, title = value.partition("=")
    found = [name for name in names.split(",") if name]
    for name in found:
        if name not in COLUMNS:
            raise InvalidParameterError(f"unknown ps column: {name}")
    for position, name in enumerate(found):
        shown, read = COLUMNS[name]
        if equals and position == len(found) - 1:
            shown = title
            if title.startswith("PID") and name != "pid":
                raise InvalidParameterError(f'specifying "{name}={title}" is not allowed')
        yield shown, read


def _key(key: str) -> tuple[Reader, bool]:
    name = key.lstrip("+-")
    if name not in COLUMNS:
        raise InvalidParameterError(f"error: unknown sort specifier: {key}")
    return COLUMNS[name][1], key.startswith("-")
