"""What a Dockerfile says, as data.

Nothing in here is expanded: variables are still in the words. ``instruction.expanded(expander)`` gives the same
instruction with the variables replaced in exactly those fields in which Docker replaces them; the solver calls it with
an environment that is right for the place (ARG and ENV of the stage so far). Words are still quoted before and
unquoted after that call, so an instruction must be expanded exactly once, also when the environment is empty.

See: docs.docker.com/reference/dockerfile.
"""

from typing import Literal, Protocol, Self

import msgspec

from rundlet.builder.dockerfile.errors import DockerfileError


class Expansion(Protocol):
    """What replaces variables; see ``expansion.Expander``."""

    def word(self, text: str) -> str:
        """``text`` as one word: unquoted, variables replaced. Raises DockerfileError."""

    def words(self, text: str) -> tuple[str, ...]:
        """``text`` as any number of words: an unquoted variable with blanks in it makes several."""

    def body(self, text: str) -> str:
        """The text of a heredoc: variables replaced, quotes kept."""


class Position(msgspec.Struct, frozen=True):
    """First and last line in the file, from 1; heredocs included."""

    line: int
    end: int


class Heredoc(msgspec.Struct, frozen=True):
    """``<<NAME`` and the lines up to NAME. ``text`` ends with a newline unless it is empty; with ``<<-`` (``chomp``)
    its leading tabs are still there: :meth:`content` gives what counts. ``expand`` is false for ``<<"NAME"``."""

    name: str
    text: str
    expand: bool
    chomp: bool = False
    descriptor: int = 0

    def content(self) -> str:
        """The lines, without leading tabs for ``<<-``."""
        if not self.chomp:
            return self.text
        return "".join(line.lstrip("\t") for line in self.text.splitlines(keepends=True))


class Instruction(msgspec.Struct, frozen=True, kw_only=True):
    """One instruction. ``code`` is its text as Docker shows it in steps: continuations joined, heredoc bodies left out.
    ``comment`` is what the comment lines directly above it say (for ARG and FROM descriptions)."""

    code: str
    position: Position
    comment: str = ""

    @property
    def keyword(self) -> str:
        """``RUN``, ``COPY``, …"""
        return type(self).__name__.upper()

    def expanded(self, expander: Expansion) -> Self:
        """The instruction with its variables replaced. Raises DockerfileError."""
        del expander
        return self


class KeyValue(msgspec.Struct, frozen=True):
    """One pair of ENV or LABEL. ``legacy`` for the form without ``=``."""

    key: str
    value: str
    legacy: bool = False

    def expanded(self, expander: Expansion) -> "KeyValue":
        return KeyValue(expander.word(self.key), expander.word(self.value), self.legacy)


class Variable(msgspec.Struct, frozen=True):
    """One name of ARG; ``value`` is None for ``ARG NAME``."""

    name: str
    value: str | None = None


class Arg(Instruction, frozen=True, kw_only=True):
    """``ARG NAME[=default] …``. :meth:`expanded` expands each default without the instruction's own earlier names: who
    wants ``ARG A=1 B=$A`` to see A expands the variables one at a time."""

    variables: tuple[Variable, ...]

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(
            self,
            variables=tuple(
                Variable(expander.word(item.name), None if item.value is None else expander.word(item.value))
                for item in self.variables
            ),
        )


class Env(Instruction, frozen=True, kw_only=True):
    """``ENV A=1 B=2``: all values see the environment before the instruction."""

    pairs: tuple[KeyValue, ...]

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(self, pairs=tuple(pair.expanded(expander) for pair in self.pairs))


class Label(Instruction, frozen=True, kw_only=True):
    """``outside``: not in the Dockerfile, but given with ``--label``."""

    pairs: tuple[KeyValue, ...]
    outside: bool = False

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(self, pairs=tuple(pair.expanded(expander) for pair in self.pairs))


class Maintainer(Instruction, frozen=True, kw_only=True):
    name: str


class InlineFile(msgspec.Struct, frozen=True):
    """A heredoc as a source of COPY or ADD: a file called ``name``, mode 0644 unless --chmod says otherwise. After
    ``expanded`` its ``text`` is final."""

    name: str
    text: str
    expand: bool


class Transfer(Instruction, frozen=True, kw_only=True):
    """What COPY and ADD have in common.

    ``sources`` are in the order written, without the heredocs, which are ``files``. ``from_`` is a stage's name or
    number, a build context or an image (never expanded; empty for the main context). ``chown`` is ``user[:group]``,
    ``chmod`` an octal or symbolic mode; both empty when not given. ``excludes`` are patterns as in .dockerignore,
    relative to each source. ``link`` makes a layer independent of those below.
    """

    sources: tuple[str, ...]
    destination: str
    files: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    excludes: tuple[str, ...] = ()

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(
            self,
            sources=tuple(expander.word(source) for source in self.sources),
            destination=expander.word(self.destination),
            files=tuple(
                InlineFile(file.name, expander.body(file.text) if file.expand else file.text, False)
                for file in self.files
            ),
            chown=expander.word(self.chown),
            chmod=expander.word(self.chmod),
            excludes=tuple(expander.word(pattern) for pattern in self.excludes),
        )


class Copy(Transfer, frozen=True, kw_only=True):
    from_: str = ""
    parents: bool = False


class Add(Transfer, frozen=True, kw_only=True):
    """``checksum`` is a digest or, for git, a commit; ``unpack`` is None where the source's kind decides (a local
    archive is unpacked, a downloaded one is not)."""

    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(super().expanded(expander), checksum=expander.word(self.checksum))


MountType = Literal["bind", "cache", "tmpfs", "secret", "ssh"]
Sharing = Literal["shared", "private", "locked"]


class Mount(msgspec.Struct, frozen=True):
    """``--mount`` of RUN. ``read_only`` is settled: true for bind unless ``rw``. ``size`` in bytes (tmpfs), ``mode``
    as a number (cache 0o755, secret and ssh 0o600… where given, else None). ``id`` may be empty: the target's path for
    a cache, the base name of the target for a secret, ``default`` for ssh. ``env`` is a secret's variable."""

    type: MountType = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    sharing: Sharing = "shared"
    read_only: bool = True
    required: bool = False
    size: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    env: str | None = None


class Command(Instruction, frozen=True, kw_only=True):
    """An instruction with a command line: ``words`` are an argument list, or with ``shell`` one text for the stage's
    SHELL. The words are never expanded: that is the shell's business."""

    words: tuple[str, ...]
    shell: bool


class Run(Command, frozen=True, kw_only=True):
    """``RUN``. ``heredocs`` in the order of their marks in the command line; their text is not expanded here.

    How they reach the command: see ``scripts.command_of``.
    ``mount_flags`` are the texts of --mount as written; ``mounts`` the same parsed without expansion where that is
    possible (``from_`` always is, and tells the graph what the step needs); after :meth:`expanded` they are final.
    ``network`` is ``default``, ``none`` or ``host``; ``security`` ``sandbox`` or ``insecure``.
    """

    heredocs: tuple[Heredoc, ...] = ()
    mount_flags: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()

    def expanded(self, expander: Expansion) -> Self:
        from rundlet.builder.dockerfile.mounts import parse_mount

        return msgspec.structs.replace(
            self, mounts=tuple(parse_mount(text, expander.word) for text in self.mount_flags)
        )


class Cmd(Command, frozen=True, kw_only=True):
    pass


class Entrypoint(Command, frozen=True, kw_only=True):
    """No words (``ENTRYPOINT []``) take the base image's entry point away."""


class Healthcheck(Instruction, frozen=True, kw_only=True):
    """``test`` as in the image config: ``("NONE",)``, ``("CMD", …)`` or ``("CMD-SHELL", text)``. Times in nanoseconds,
    0 where not given."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Expose(Instruction, frozen=True, kw_only=True):
    """``ports`` as written; after :meth:`expanded` checked, ranges resolved: ``80/tcp`` each."""

    ports: tuple[str, ...]

    def expanded(self, expander: Expansion) -> Self:
        from rundlet.builder.dockerfile.ports import exposed_ports

        words = [word for port in self.ports for word in expander.words(port)]
        return msgspec.structs.replace(self, ports=exposed_ports(words))


class User(Instruction, frozen=True, kw_only=True):
    user: str

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(self, user=expander.word(self.user))


class Volume(Instruction, frozen=True, kw_only=True):
    paths: tuple[str, ...]

    def expanded(self, expander: Expansion) -> Self:
        paths = tuple(expander.word(path) for path in self.paths)
        if not all(paths):
            raise DockerfileError("VOLUME specified can not be an empty string", self.position.line)
        return msgspec.structs.replace(self, paths=paths)


class Workdir(Instruction, frozen=True, kw_only=True):
    """``path`` may be relative to the directory before."""

    path: str

    def expanded(self, expander: Expansion) -> Self:
        return msgspec.structs.replace(self, path=expander.word(self.path))


class Stopsignal(Instruction, frozen=True, kw_only=True):
    """``signal`` is a name or a number; after :meth:`expanded` one that there is."""

    signal: str

    def expanded(self, expander: Expansion) -> Self:
        from rundlet.builder.dockerfile.signals import is_signal

        name = expander.word(self.signal)
        if not is_signal(name):
            raise DockerfileError(f"invalid signal: {name}", self.position.line)
        return msgspec.structs.replace(self, signal=name)


class Shell(Instruction, frozen=True, kw_only=True):
    words: tuple[str, ...]


class Onbuild(Instruction, frozen=True, kw_only=True):
    """``trigger`` is the instruction's text: ``parse_instruction(trigger)`` when a child is built."""

    trigger: str


class Stage(msgspec.Struct, frozen=True):
    """``FROM base [AS name]`` and its instructions. ``base`` and ``platform`` may hold variables, for global ARGs;
    ``name`` is in lower case, empty for none; a stage without a name is known by ``index``, from 0. ``position`` is
    the FROM line, ``extent`` the whole stage."""

    index: int
    base: str
    code: str
    position: Position
    name: str = ""
    platform: str = ""
    comment: str = ""
    instructions: tuple[Instruction, ...] = ()
    extent: Position = Position(1, 1)


class Directives(msgspec.Struct, frozen=True):
    """``# syntax=``, ``# escape=``, ``# check=``; empty or the default where not given. ``lines`` maps a directive's
    name to where it is."""

    syntax: str = ""
    escape: str = "\\"
    check: str = ""
    lines: dict[str, Position] = {}


class Warning_(msgspec.Struct, frozen=True):
    """Something Docker warns of when it reads the file: rule name and text as in ``build --check``."""

    rule: str
    text: str
    position: Position


class Dockerfile(msgspec.Struct, frozen=True):
    """A whole file. ``global_args`` are the ARGs before the first FROM, in order. ``source`` is the file's text, for
    excerpts around an error. ``warnings`` are those found while parsing (``lint`` finds more)."""

    stages: tuple[Stage, ...]
    global_args: tuple[Arg, ...]
    directives: Directives
    source: str
    warnings: tuple[Warning_, ...] = ()

    def stage(self, target: str) -> Stage:
        """The stage of a name or number; the last one for an empty target. Raises DockerfileError."""
        if not target:
            return self.stages[-1]
        for stage in self.stages:
            if stage.name == target.lower():
                return stage
        if target.isascii() and target.isdigit() and int(target) < len(self.stages):
            return self.stages[int(target)]
        raise DockerfileError(f'target stage "{target}" could not be found')
