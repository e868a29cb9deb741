"""The command that a RUN comes to: its words, its SHELL, its here-documents."""

from collections.abc import Sequence
from typing import Final

import msgspec

from rundlet.builder.dockerfile.ast import Run
from rundlet.builder.dockerfile.heredocs import parse_mark

PIPES: Final = "/dev/pipes"
"""Where a script that is a here-document is seen by the step that runs it; BuildKit's place."""


class ScriptFile(msgspec.Struct, frozen=True):
    """A file, mode 0755, that is under :data:`PIPES` (read-only) while the step runs."""

    name: str
    text: str


class Script(msgspec.Struct, frozen=True):
    argv: tuple[str, ...]
    files: tuple[ScriptFile, ...] = ()


def command_of(run: Run, shell: Sequence[str]) -> Script:
    """What to execute. ``shell`` is the stage's SHELL, ``("/bin/sh", "-c")`` where it has none.

    A here-document alone is the script itself (one with ``#!`` a program); with words before or after it, it is put
    behind them for the shell to read. ``RUN []`` says nothing: what the image does by itself is meant.
    """
    if not run.shell:
        return Script(run.words)
    text = run.words[0] if run.words else ""
    if not run.heredocs:
        return Script((*shell, text))
    first = run.heredocs[0]
    if parse_mark(text) is None:
        documents = "".join(f"\n{document.text}{document.name}" for document in run.heredocs)
        return Script((*shell, text + documents))
    if first.text.startswith("#!"):
        # A name with a slash in it would be a path: the file gets a name of its own then.
        name = first.name if "/" not in first.name and first.name not in (".", "..") else "script"
        return Script((*shell, f"{PIPES}/{name}"), (ScriptFile(name, first.content()),))
    return Script((*shell, first.content()))
