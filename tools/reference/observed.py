"""Which test observes what: ``tests/observed.toml``, and the check that it is true of the tests' text.

An entry names tests. A named test must exist, and its text (with the constants and helpers of ours that it uses) must
hold the flag together with its command, or the endpoint's path. ``TEST by WORDS`` says that a test reaches an endpoint
through a command or a client's method; then those words must be there.
"""

import ast
import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "tests" / "observed.toml"
DEPTH = 3
"""Helpers of helpers of helpers are still the test's own text."""


TOO_MUCH = frozenset({"Engine"})
"""Classes that say what can be done, not what a test does."""


@dataclass(slots=True)
class Text:
    """What a test says: its words, and its strings with a blank for what is put in (``/containers/ /json``)."""

    words: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    source: str = ""


@cache
def table() -> dict[str, dict[str, list[str]]]:
    """``flags`` and ``endpoints``: tests by key."""
    return tomllib.loads(TABLE.read_text())


def problems(section: str, wanted: dict[str, "Wanted"]) -> list[str]:
    """What is missing in, wrong with, or left over in a section of the table."""
    entries = table()[section]
    found = [f"{section}: no test observes {key}" for key in wanted if not entries.get(key)]
    found += [f"{section}: {key} is in the table, but there is no such thing" for key in entries if key not in wanted]
    for key, tests in entries.items():
        if key in wanted:
            found += [f"{section}: {key}: {problem}" for test in tests if (problem := _problem(test, wanted[key]))]
    return found


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a test's text must hold: one of ``words`` and all of one of ``commands``, or a string like ``path``."""

    words: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    path: str = ""

    def held_by(self, text: Text) -> bool:
        if self.path:
            return any(re.search(self.path, string) for string in text.strings)
        called = any(all(word in text.words for word in command) for command in self.commands)
        return called and any(
            word in text.words or any(one.startswith(f"{word}=") for one in text.words) for word in self.words
        )


def flag_wanted(long: str, short: str, names: tuple[str, ...]) -> Wanted:
    """The flag, written out or as its letter, in a call of the command by any of its names."""
    words = (f"--{long}", *((f"-{short}",) if short else ()))
    return Wanted(words=words, commands=tuple(tuple(name.split()) for name in names))


def path_wanted(path: str) -> Wanted:
    """The path with anything for its variables; a version before it, a query behind it."""
    pattern = re.sub(r"\\\{\w+\\\}", r"[^?]+", re.escape(path))
    return Wanted(path=rf"(^|\s|v[\d.]+){pattern}($|\?|\s)")


def _problem(entry: str, wanted: Wanted) -> str:
    test, _, by = entry.partition(" by ")
    text = test_text(test)
    if text is None:
        return f"there is no test {test}"
    by_name = by in text.source or all(word in text.words for word in by.split())
    held = by_name if by else wanted.held_by(text)
    return "" if held else f"{test} does not mention it"


@cache
def test_text(test: str) -> Text | None:
    """Of ``tests/x.py::test_y`` or ``tests/x.py::TestZ::test_y``; None when there is none."""
    file, _, path = test.partition("::")
    if not (ROOT / file).is_file() or not path:
        return None
    names = path.split("::")
    node = _module(file).get(names[0])
    for name in names[1:]:
        members = node.body if isinstance(node, ast.ClassDef) else []
        node = next((one for one in members if getattr(one, "name", "") == name), None)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    text = Text()
    _Collector(text).collect(file, node, 0)
    return text


class _Collector:
    def __init__(self, text: Text) -> None:
        self.text = text
        self.seen: set[int] = set()

    def collect(self, file: str, node: ast.AST, depth: int) -> None:
        if id(node) in self.seen:
            return
        self.seen.add(id(node))
        self.text.source += ast.unparse(node)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                self.text.strings.add(inner.value)
                self.text.words.update(inner.value.split())
            elif isinstance(inner, ast.JoinedStr):
                self.text.strings.add(_filled(inner))
            elif isinstance(inner, ast.Name | ast.arg) and depth < DEPTH:
                self._follow(file, inner.id if isinstance(inner, ast.Name) else inner.arg, depth)

    def _follow(self, file: str, name: str, depth: int) -> None:
        if name.startswith("test_"):
            return
        node = _module(file).get(name)
        if isinstance(node, ast.ImportFrom):
            file = f"{(node.module or '').replace('.', '/')}.py"
            original = next(one.name for one in node.names if name in (one.asname, one.name))
            node = _module(file).get(original) if (ROOT / file).is_file() else None
        if node is not None and not isinstance(node, ast.ImportFrom) and name not in TOO_MUCH:
            self.collect(file, node, depth + 1)


def _filled(node: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)


@cache
def _module(file: str) -> dict[str, ast.stmt]:
    """What a module's names stand for."""
    names: dict[str, ast.stmt] = {}
    for node in ast.parse((ROOT / file).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            names |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("tests.", "tools.")):
            names |= {one.asname or one.name: node for one in node.names}
    return names
