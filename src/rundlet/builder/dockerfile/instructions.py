"""What each instruction's line means, with Docker's complaints about those that mean nothing."""

import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.ast import InlineFile, Instruction, KeyValue, Position, Variable
from rundlet.builder.dockerfile.durations import duration_ns
from rundlet.builder.dockerfile.errors import InstructionError, UnknownInstructionError
from rundlet.builder.dockerfile.flags import Flags
from rundlet.builder.dockerfile.heredocs import parse_mark
from rundlet.builder.dockerfile.lines import Line
from rundlet.builder.dockerfile.mounts import parse_mount
from rundlet.builder.dockerfile.suggest import did_you_mean
from rundlet.builder.dockerfile.words import json_words, pairs, plain_words, quoted_words, split_keyword

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-_.]*\Z")
_ONBUILD: Final = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)
_NETWORKS: Final = ("default", "none", "host")
_SECURITY: Final = ("sandbox", "insecure")
_SHORTEST_NS: Final = 1_000_000


class From(msgspec.Struct, frozen=True):
    """The line that begins a stage."""

    base: str
    name: str
    platform: str
    code: str
    position: Position
    comment: str


def read_line(line: Line) -> From | Instruction:
    """Raises InstructionError, DockerfileSyntaxError; the place is the caller's to add."""
    keyword = line.keyword.lower()
    read = _READERS.get(keyword)
    if read is None:
        hint = did_you_mean(keyword, _READERS)
        raise UnknownInstructionError(f"unknown instruction: {line.keyword}{_cased(hint, line.keyword)}")
    return read(_Request(line))


def _cased(hint: str, word: str) -> str:
    """Docker's hint is in the case of what was written."""
    if not word[-1:].isupper():
        return hint
    start, mark, rest = hint.partition("mean ")
    return start + mark + rest.upper()


class _Request:
    """A line with its flags checked."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.keyword = line.keyword.upper()
        self.text = line.text
        self.flags = Flags(line.keyword.lower(), line.flags)

    @property
    def base(self) -> dict[str, object]:
        return {"code": self.line.original, "position": self.line.position}

    def comment(self, name: str) -> str:
        """What the comment above says about ``name``: ``# name …``."""
        if not name:
            return ""
        found = (comment for comment in self.line.comments if comment.startswith(f"{name} "))
        return next(found, "").removeprefix(f"{name} ")

    def at_least_one(self) -> None:
        if not self.text:
            raise InstructionError(f"{self.keyword} requires at least one argument")

    def exactly_one(self) -> str:
        if not self.text:
            raise InstructionError(f"{self.keyword} requires exactly one argument")
        return self.text

    def list(self) -> tuple[str, ...]:
        words = json_words(self.text)
        return plain_words(self.text) if words is None else words

    def make(self, kind: type[Instruction], **fields: object) -> Instruction:
        return kind(**self.base, **fields)  # type: ignore[arg-type]


def _from(request: _Request) -> From:
    words = plain_words(request.text)
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.match(name):
            raise InstructionError(
                f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols'
            )
    elif len(words) != 1:
        raise InstructionError("FROM requires either one or three arguments")
    line = request.line
    return From(words[0], name, request.flags.text("platform"), line.original, line.position, request.comment(name))


def _pairs(request: _Request) -> tuple[KeyValue, ...]:
    found = pairs(request.text, request.keyword, request.line.escape)
    request.at_least_one()
    if not all(name for name, _, _ in found):
        raise InstructionError(f"{request.keyword} names can not be blank")
    return tuple(KeyValue(*pair) for pair in found)


def _env(request: _Request) -> Instruction:
    return request.make(ast.Env, pairs=_pairs(request))


def _label(request: _Request) -> Instruction:
    return request.make(ast.Label, pairs=_pairs(request))


def _arg(request: _Request) -> Instruction:
    request.at_least_one()
    variables: list[Variable] = []
    for word in quoted_words(request.text, request.line.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise InstructionError("ARG names can not be blank")
        variables.append(Variable(name, value if equals else None))
    comment = next(filter(None, (request.comment(variable.name) for variable in variables)), "")
    return request.make(ast.Arg, variables=tuple(variables), comment=comment)


def _transfer(request: _Request) -> dict[str, object]:
    words = request.list()
    if len(words) < 2:
        raise InstructionError(
            f"{request.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    documents = {document.name: document for document in request.line.heredocs}
    *sources, destination = words
    if documents and parse_mark(destination) is not None:
        raise InstructionError(f"{request.keyword} cannot accept a heredoc as a destination")
    paths: list[str] = []
    files: list[InlineFile] = []
    for source in sources:
        mark = parse_mark(source) if documents else None
        document = documents.get(mark.name) if mark else None
        if document is None:
            paths.append(source)
        else:
            files.append(InlineFile(document.name, document.content(), document.expand))
    flags = request.flags
    return {
        "sources": tuple(paths),
        "destination": destination,
        "files": tuple(files),
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": bool(flags.boolean("link")),
        "excludes": flags.all("exclude"),
    }


def _copy(request: _Request) -> Instruction:
    source = request.flags.text("from")
    if "$" in source[:-1]:
        raise InstructionError(
            "variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope "
            "as a workaround"
        )
    parents = bool(request.flags.boolean("parents"))
    return request.make(ast.Copy, from_=source, parents=parents, **_transfer(request))


def _add(request: _Request) -> Instruction:
    flags = request.flags
    return request.make(
        ast.Add,
        checksum=flags.text("checksum"),
        keep_git_dir=bool(flags.boolean("keep-git-dir")),
        unpack=flags.boolean("unpack"),
        **_transfer(request),
    )


def _command(request: _Request) -> dict[str, object]:
    words = json_words(request.text)
    if words is not None:
        return {"words": words, "shell": False}
    return {"words": (request.text,) if request.text else (), "shell": True}


def _run(request: _Request) -> Instruction:
    flags = request.flags
    mounts = flags.all("mount")
    return request.make(
        ast.Run,
        heredocs=request.line.heredocs,
        mount_flags=mounts,
        mounts=tuple(parse_mount(text, None) for text in mounts),
        network=_choice("network mode", flags.text("network"), _NETWORKS),
        security=_choice("security mode", flags.text("security"), _SECURITY),
        devices=flags.all("device"),
        **_command(request),
    )


def _choice(what: str, value: str, choices: tuple[str, ...]) -> str:
    value = value or choices[0]
    if value not in choices:
        raise InstructionError(f'unsupported {what} "{value}"{did_you_mean(value, choices)}')
    return value


def _default_command(request: _Request) -> dict[str, object]:
    """As RUN's, but that nothing at all is an empty command line for the shell."""
    command = _command(request)
    return {**command, "words": ("",)} if command["shell"] and not request.text else command


def _cmd(request: _Request) -> Instruction:
    return request.make(ast.Cmd, **_default_command(request))


def _entrypoint(request: _Request) -> Instruction:
    return request.make(ast.Entrypoint, **_default_command(request))


def _shell(request: _Request) -> Instruction:
    words = json_words(request.text)
    if not request.text or words == ():
        raise InstructionError("SHELL requires at least one argument")
    if words is None:
        raise InstructionError("SHELL requires the arguments to be in JSON form")
    return request.make(ast.Shell, words=words)


def _healthcheck(request: _Request) -> Instruction:
    request.at_least_one()
    kind, rest = (*request.text.split(maxsplit=1), "")[:2]
    kind = kind.upper()
    if kind == "NONE":
        if rest:
            raise InstructionError("HEALTHCHECK NONE takes no arguments")
        return request.make(ast.Healthcheck, test=("NONE",))
    if kind != "CMD":
        raise InstructionError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    rest = rest.strip()
    words = json_words(rest)
    if not rest or words == ():
        raise InstructionError("Missing command after HEALTHCHECK CMD")
    test = ("CMD-SHELL", rest) if words is None else ("CMD", *words)
    times = {
        name.replace("-", "_"): _interval(name, request.flags.text(name))
        for name in ("interval", "timeout", "start-period", "start-interval")
    }
    return request.make(ast.Healthcheck, test=test, retries=_retries(request.flags.text("retries")), **times)


def _interval(name: str, text: str) -> int:
    """Nanoseconds of a Go duration, at least a millisecond; 0 for none."""
    if not text:
        return 0
    try:
        nanoseconds = duration_ns(text)
    except ValueError as exc:
        raise InstructionError(str(exc)) from None
    if nanoseconds and nanoseconds < _SHORTEST_NS:
        raise InstructionError(f'Interval "{name}" cannot be less than 1ms')
    return nanoseconds


def _retries(text: str) -> int:
    if not text:
        return 0
    digits = text.removeprefix("-").removeprefix("+") if text[:2] not in ("-+", "--") else ""
    if not (digits.isascii() and digits.isdigit()):
        raise InstructionError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if len(digits) > 10 or int(digits) >= 1 << 31:
        raise InstructionError(f'strconv.ParseInt: parsing "{text}": value out of range')
    if int(text) < 0:
        raise InstructionError(f"--retries cannot be negative ({int(text)})")
    return int(text)


def _expose(request: _Request) -> Instruction:
    request.at_least_one()
    return request.make(ast.Expose, ports=plain_words(request.text))


def _volume(request: _Request) -> Instruction:
    words = request.list()
    if not words:
        raise InstructionError("VOLUME requires at least one argument")
    return request.make(ast.Volume, paths=tuple(_volume_paths(words)))


def _volume_paths(words: Iterable[str]) -> Iterable[str]:
    for word in words:
        if not word.strip():
            raise InstructionError("VOLUME specified can not be an empty string")
        yield word.strip()


def _user(request: _Request) -> Instruction:
    return request.make(ast.User, user=request.exactly_one())


def _workdir(request: _Request) -> Instruction:
    return request.make(ast.Workdir, path=request.exactly_one())


def _stopsignal(request: _Request) -> Instruction:
    return request.make(ast.Stopsignal, signal=request.exactly_one())


def _maintainer(request: _Request) -> Instruction:
    return request.make(ast.Maintainer, name=request.exactly_one())


def _onbuild(request: _Request) -> Instruction:
    request.at_least_one()
    keyword = split_keyword(request.text)[0].upper()
    if keyword == "ONBUILD":
        raise InstructionError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise InstructionError(f"{keyword} isn't allowed as an ONBUILD trigger")
    trigger = _ONBUILD.sub("", request.line.original, count=1)
    for document in request.line.heredocs:
        trigger += f"\n{document.text}{document.name}"
    return request.make(ast.Onbuild, trigger=trigger)


_READERS: Final[dict[str, Callable[[_Request], From | Instruction]]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stopsignal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}
