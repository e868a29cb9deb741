"""Where a build's files come from: a directory, standard input, a URL; and which Dockerfile.

Nothing is read here but the Dockerfile, the ignore file and the first bytes of standard input.
"""

from __future__ import annotations

import os

from rundlet.builder.ignore import NAME as IGNORE_FILE
from rundlet.builder.ignore import BadPatternError, Patterns
from rundlet.cli.building.packing import Tree
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

DEFAULT = "Dockerfile"
_OTHER_DEFAULT = "Containerfile"
_PEEK = 512
_CHUNK = 1 << 18
_MAGIC = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_TAR_MAGIC = slice(257, 262)
_READ_FAILED = "ERROR: failed to build: failed to solve: failed to read dockerfile"


class Source:
    """What the engine is sent: ``body``, or what is in a directory.

    ``query`` is what it is told about it, ``dockerfile`` the text for excerpts (None where only the engine has it),
    ``shown`` the Dockerfile's name in messages.
    """

    def __init__(
        self,
        query: Mapping[str, Any],
        body: Iterator[bytes] | Tree | None,
        dockerfile: bytes | None,
        shown: str,
    ) -> None:
        self.query = dict(query)
        self.body = body
        self.dockerfile = dockerfile
        self.shown = shown


def open_source(context: str, file: str) -> Source:
    """``context`` as on the command line, ``file`` as with ``-f``. Raises CommandError."""
    if context == "-" and file == "-":
        raise CommandError("ERROR: invalid argument: can't use stdin for both build context and dockerfile")
    if context == "-":
        return _standard_input(file)
    if is_remote(context) and not os.path.exists(context):
        if file == "-":
            raise CommandError(
                "ERROR: --file - (a Dockerfile from standard input) with a URL is not supported by Rundlet"
            )
        query = {"remote": context, "dockerfile": file or None}
        return Source(query, None, None, file or DEFAULT)
    return _directory(context, file)


def is_remote(text: str) -> bool:
    """Whether ``text`` is a URL or a git repository for the engine to fetch."""
    if text.startswith(("http://", "https://", "git://", "ssh://", "github.com/", "git@")):
        return True
    # scp-like: user@host:path, which git takes too.
    user, at, rest = text.partition("@")
    return bool(at) and "/" not in user and ":" in rest and "/" not in rest.partition(":")[0]


def _standard_input(file: str) -> Source:
    start = b""
    while len(start) < _PEEK and (piece := os.read(0, _PEEK - len(start))):
        start += piece
    if not start:
        raise CommandError(f"{_READ_FAILED}: the Dockerfile cannot be empty")
    if start.startswith(_MAGIC) or start[_TAR_MAGIC] == b"ustar":
        return Source({"dockerfile": file or None}, _rest(start), None, file or DEFAULT)
    if file:
        raise CommandError("ERROR: ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
    text = start + b"".join(iter(lambda: os.read(0, _CHUNK), b""))
    return Source({}, _only({DEFAULT: text}), text, DEFAULT)


def _rest(start: bytes) -> Iterator[bytes]:
    yield start
    while piece := os.read(0, _CHUNK):
        yield piece


def _only(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """A context of nothing but ``files``."""
    from rundlet.cli.building import headers

    for name, content in files.items():
        yield headers.header(os.fsencode(name), headers.REGULAR, 0o644, 0, size=len(content))
        yield content + bytes(-len(content) % headers.BLOCK)
    yield bytes(2 * headers.BLOCK)


def _directory(context: str, file: str) -> Source:
    if not os.path.exists(context):
        raise CommandError(f'ERROR: failed to build: unable to prepare context: path "{context}" not found')
    if not os.path.isdir(context):
        raise CommandError(f"ERROR: failed to build: unable to prepare context: context must be a directory: {context}")
    root = os.path.realpath(context)
    if file == "-":
        text = b"".join(iter(lambda: os.read(0, _CHUNK), b""))
        return _packed(root, text, "", DEFAULT)
    path = file or default_dockerfile(root)
    text = _read(path)
    inside = os.path.relpath(os.path.realpath(path), root)
    name = "" if inside.startswith("../") else inside
    return _packed(root, text, name, os.path.basename(path), path)


def default_dockerfile(root: str) -> str:
    """The file that is meant without ``-f``."""
    path = os.path.join(root, DEFAULT)
    if os.path.lexists(path):
        return path
    others = (os.path.join(root, name) for name in (DEFAULT.lower(), _OTHER_DEFAULT))
    return next((other for other in others if os.path.isfile(other)), path)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as exc:
        raise CommandError(f"{_READ_FAILED}: open {os.path.basename(path)}: {(exc.strerror or '').lower()}") from exc


def patterns_for(root: str, dockerfile: str) -> Patterns:
    """What is left out: the Dockerfile's own ignore file says, or else the directory's. Raises CommandError."""
    for path in ([f"{dockerfile}{IGNORE_FILE}"] if dockerfile else []) + [os.path.join(root, IGNORE_FILE)]:
        try:
            with open(path, "rb") as file:
                return Patterns.read(file.read())
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise CommandError(f"ERROR: failed to read {path}: {(exc.strerror or '').lower()}") from exc
        except BadPatternError as exc:
            raise CommandError(f"ERROR: failed to build: failed to solve: error parsing {IGNORE_FILE}: {exc}") from exc
    return Patterns(())


def _packed(root: str, text: bytes, name: str, shown: str, path: str = "") -> Source:
    """A directory with a Dockerfile that is ``name`` in it, or "" for one that comes from elsewhere."""
    patterns = patterns_for(root, path)
    extra: dict[str, bytes] = {}
    if not name or patterns.ignored(name):
        # The engine needs it, the build must not see it: it travels under a name that nobody uses, and the ignore file
        # that the engine reads says so.
        name = f".dockerfile.{os.urandom(10).hex()}"
        extra[name] = text
        extra[IGNORE_FILE] = _ignore_file(root) + f"\n{IGNORE_FILE}\n{name}\n".encode()
    return Source({"dockerfile": name}, Tree(root, patterns, extra), text, shown)


def _ignore_file(root: str) -> bytes:
    try:
        with open(os.path.join(root, IGNORE_FILE), "rb") as file:
            return file.read()
    except OSError:
        return b""
