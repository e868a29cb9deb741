"""The command line: global flags, the choice of a command, and the end of the process.

:func:`script` is the ``rundlet`` command; ``python -m rundlet`` calls :func:`main`.
"""

from __future__ import annotations

import errno
import gc
import os
import sys

from rundlet.cli import catalog
from rundlet.cli.exit import CommandError, RunError, UsageError
from rundlet.cli.flags import FlagError, HelpRequested, Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rundlet.cli.context import Context

GLOBAL_FLAGS = (
    ("config", "", "string", "Location of client config files (default ~/.docker)"),
    (
        "context",
        "c",
        "string",
        "Name of the context to use to connect to the daemon (overrides the DOCKER_HOST environment variable)",
    ),
    ("debug", "D", "bool", "Enable debug mode"),
    ("host", "H", "list", "Daemon socket to connect to"),
    (
        "log-level",
        "l",
        "string",
        'Set the logging level ("debug", "info", "warn", "error", "fatal") (default "info")',
        "info",
    ),
    ("tls", "", "bool", "Use TLS; implied by --tlsverify"),
    ("tlscacert", "", "string", "Trust certs signed only by this CA (default ca.pem in the config directory)"),
    ("tlscert", "", "string", "Path to TLS certificate file (default cert.pem in the config directory)"),
    ("tlskey", "", "string", "Path to TLS key file (default key.pem in the config directory)"),
    ("tlsverify", "", "bool", "Use TLS and verify the remote"),
    ("version", "v", "bool", "Print version information and quit"),
    ("help", "", "bool", ""),
)

# As Docker takes them; what a command has to say it says at every level.
LOG_LEVELS = ("", "panic", "fatal", "error", "warn", "warning", "info", "debug", "trace")

GARBAGE_THRESHOLD = 20_000
"""Objects: more than any short command makes, and little for one that stays."""

PREFIXED = frozenset(("container.run",))

HELP_WORDS = frozenset(("--help", "-h"))

_DEPRECATED = "Flag shorthand -h has been deprecated, use --help"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing our output may fail with, where nothing is wrong with us."""
_DOCKER = "28.5.2"
"""The release of Docker whose commands and flags these are."""


class Invocation:
    """One call of a command: what it was called as, its flags and arguments, and the context around it."""

    __slots__ = ("args", "context", "flags", "module", "path")

    def __init__(self, context: Context, path: str, module: Any, flags: dict[str, Any], args: list[str]) -> None:
        self.context = context
        self.path = path
        self.module = module
        self.flags = flags
        self.args = args

    def given(self, name: str) -> bool:
        """Whether the user wrote this flag."""
        given: dict[str, str] = self.flags.given  # type: ignore[attr-defined]
        return name in given


def program_name(argv0: str) -> str:
    """``docker`` when called through a link of that name, else ``rundlet``."""
    return "docker" if os.path.basename(argv0) == "docker" else "rundlet"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line. Returns the exit code."""
    words = list(sys.argv if argv is None else argv)
    program = program_name(words[0])
    try:
        code = _dispatch(program, words[1:])
        sys.stdout.flush()
    except CommandError as exc:
        _flush_quietly()
        if exc.message:
            _complain(exc.message)
        return exc.code
    except BrokenPipeError:
        # The reader of our output went away (`rundlet ps | head -1`); as a shell's own tools, end without a word.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        _flush_quietly()
        return 130
    except OSError as exc:
        # Whoever writes a file says so of it: what comes here without a name is standard output.
        if exc.filename is not None or exc.errno not in _FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _complain(f"write /dev/stdout: {os.strerror(exc.errno).lower()}")
        return 1
    return code


def script() -> None:
    """The ``rundlet`` script: run, and end without the interpreter's clean-up, which takes longer than a command."""
    # Looking for cycles among what is being imported takes a tenth of a command's time and finds none.
    gc.set_threshold(GARBAGE_THRESHOLD)
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_standard_streams()
    code = main()
    _flush_quietly()
    sys.stderr.flush()
    os._exit(code)


def _open_standard_streams() -> None:
    """What we were started without (``rundlet … <&-``) is nothing, as a Go program has it: else the next descriptor
    that is opened, such as our connection to the engine, would be taken for standard input or output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def _complain(message: str) -> None:
    if not message.replace("\n", "").isprintable():
        from rundlet.cli.format.table import visible

        message = visible(message, 2)
    sys.stderr.write(message if message.endswith("\n") else message + "\n")
    sys.stderr.flush()


def _flush_quietly() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _out(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _dispatch(program: str, words: list[str]) -> int:
    from rundlet.cli.context import Context

    if words and words[0] in ("__complete", "__completeNoDesc"):
        return _complete(program, words[1:], described=words[0] == "__complete")
    parser = Parser(GLOBAL_FLAGS, interspersed=False)
    context = Context(program, parser.values)
    try:
        rest = parser.parse(words)
    except HelpRequested as exc:
        if exc.deprecated:
            _complain(_DEPRECATED)
        if exc.words and not _is_ours(exc.words):
            _become_plugin(context, words, exc.words)
        return _help_before(context, exc.words)
    except FlagError as exc:
        choices = ("--" + name for name in parser.long)
        raise UsageError(
            f"{exc.message}\n\nUsage:  {program} [OPTIONS] COMMAND [ARG...]\n\n"
            f"Run '{program} --help' for more information{_did_you_mean('--' + exc.name, choices)}",
            exc.code,
        ) from exc
    hosts = parser.values["host"]
    if len(hosts) > 1:
        raise UsageError(
            f'invalid argument "{hosts[1]}" for "-H, --host" flag: specify only one -H\n\n'
            f"Usage:  {program} [OPTIONS] COMMAND [ARG...]\n\nRun '{program} --help' for more information",
            125,
        )
    if parser.values["log-level"].lower() not in LOG_LEVELS:
        raise CommandError(f"Unable to parse logging level: {parser.values['log-level']}")
    if parser.values["version"] and not (rest and _is_ours(rest)):
        return _version(program)
    if not rest:
        # No command is a question, as a noun alone is: the answer must not be taken for output.
        return _top_help(context, sys.stderr)
    if rest[0] != "engine" and "aliases" in context.config:  # no engine fails for how a client is configured
        words, rest = _with_alias(context, words, rest)
    if not _is_ours(rest):
        _become_plugin(context, words, rest)
    if rest[0] == "help":
        return _help_topic(context, rest[1:])
    return _command(context, rest)


def _version(program: str) -> int:
    from rundlet import __version__

    if program == "docker":
        # Scripts read Docker's release off this line, and decide by it what they can use.
        return _out(f"Docker version {_DOCKER}, build rundlet-{__version__}\n")
    return _out(f"Rundlet version {__version__}\n")


def _is_ours(words: list[str]) -> bool:
    """Whether a command line is a command of our own; of Docker's ``buildx`` only some verbs are."""
    first, second = words[0], words[1] if len(words) > 1 else ""
    if first == "help":
        return not second or second in catalog.NOUNS or bool(catalog.resolve((second,)))
    if first == "buildx" and second and not second.startswith("-"):
        return second == "help" or bool(catalog.resolve((first, second)))
    return first in catalog.NOUNS or bool(catalog.resolve((first,)))


def _with_alias(context: Context, words: list[str], rest: list[str]) -> tuple[list[str], list[str]]:
    """All words and those of the command, with what config.json has for ``builder`` in its place. Raises CommandError
    for an alias that must not be, whatever the command."""
    from rundlet.cli.plugins import aliases

    alias = aliases(context.config).get(rest[0])
    if not alias:
        return words, rest
    changed = [alias, *rest[1:]]
    return [*words[: len(words) - len(rest)], *changed], changed


def _become_plugin(context: Context, words: list[str], rest: list[str]) -> None:
    """Comes back when there is no plugin for ``rest``, the words of the command among all ``words``."""
    from rundlet.cli import plugins

    plugin = plugins.find(context, rest[1] if rest[0] == "help" else rest[0])
    if plugin is not None:
        plugins.become(context, plugin, words)


def _complete(program: str, words: list[str], *, described: bool) -> int:
    """For the shell: never an error, and never an engine that is started for it."""
    from contextlib import suppress

    from rundlet.cli import plugins
    from rundlet.cli.completion import NO_FILES, Completer
    from rundlet.cli.context import Context
    from rundlet.cli.context_store import ContextStore
    from rundlet.client.errors import ClientError

    settings = Parser(GLOBAL_FLAGS, interspersed=False)
    rest: list[str] = []
    with suppress(FlagError, HelpRequested):
        rest = settings.parse(words[:-1])
    context = Context(program, settings.values)
    context.may_start = False
    try:
        if rest and (rest == ["buildx"] or not _is_ours(rest)):
            plugin = plugins.find(context, rest[0])
            if plugin is not None:
                return plugins.complete(context, plugin, words, described=described)
        completer = Completer(
            GLOBAL_FLAGS, lambda: context.session, lambda: ContextStore(context.config_directory).names()
        )
        found, directive = completer.complete(words)
    except (ClientError, CommandError, FlagError):
        found, directive = [], NO_FILES
    finally:
        context.close()
    if not rest and words and not words[-1].startswith("-"):
        taken = (*catalog.NOUNS, *catalog.SHORT_FORMS)
        found += [(one.name, one.summary) for one in plugins.every(context, taken, words[-1]) if not one.error]
    lines = (f"{name}\t{text}" if text and described else name for name, text in found)
    return _out("".join(f"{line}\n" for line in (*lines, f":{directive}")))


def _top_help(context: Context, stream: Any = None) -> int:
    from rundlet.cli.help import top_help
    from rundlet.cli.plugins import every

    taken = (*catalog.NOUNS, *catalog.SHORT_FORMS)
    (stream or sys.stdout).write(top_help(context.program, every(context, taken)))
    return 0


def _help_before(context: Context, words: list[str]) -> int:
    """--help before a command of ours: what ``words`` name, as far as they name anything."""
    words = [word for word in words if not word.startswith("-")]
    while words and " ".join(words) not in catalog.NOUNS and not catalog.resolve(tuple(words)):
        words.pop()
    return _help_topic(context, words)


def _help_topic(context: Context, words: list[str]) -> int:
    """``help`` and what comes after it."""
    program = context.program
    usage = f"Usage:  {program} help [command]"
    try:
        words = Parser(()).parse(words)
    except HelpRequested as exc:
        _tell_of_shorthand(exc)
        words = ["help"]
    except FlagError as exc:
        raise UsageError(f"{exc.message}\n\n{usage}\n\nRun '{program} help --help' for more information", 125) from exc
    if not words:
        return _top_help(context)
    from rundlet.cli import help as texts

    if words == ["help"]:
        return _out(f"{usage}\n\nHelp about the command\n")
    for count in range(min(len(words), 3), 0, -1):
        name, path = catalog.resolve(tuple(words[:count])), " ".join(words[:count])
        if not name and path not in catalog.NOUNS:
            continue
        if len(words) > count:
            raise CommandError(f"unknown help topic: {' '.join(words[count:])}")
        return _out(texts.command_help(program, path, _load(name)) if name else texts.noun_help(program, path))
    raise CommandError(f"unknown help topic: {' '.join(words)}")


def _tell_of_shorthand(request: HelpRequested) -> None:
    if request.deprecated:
        sys.stdout.write(_DEPRECATED + "\n")


def _load(name: str) -> Any:
    return __import__(f"rundlet.cli.commands.{name}", fromlist=("run",))


def _command(context: Context, words: list[str]) -> int:
    program, first = context.program, words[0]
    if first in catalog.NOUNS:
        return _noun(context, first, words[1:])
    name = catalog.resolve((first,))
    if not name:
        if HELP_WORDS.intersection(words[1:]):
            return _top_help(context)
        if first in catalog.NOT_SUPPORTED:
            raise CommandError(f"{program}: '{program} {first}' is not supported by Rundlet")
        hint = _did_you_mean(first, (*catalog.SHORT_FORMS, *catalog.NOUNS), f"{program} ")
        raise UsageError(
            f"{program}: unknown command: {program} {first}\n\nRun '{program} --help' for more information{hint}"
        )
    return _call(context, first, name, words[1:])


def _noun(context: Context, noun: str, words: list[str]) -> int:
    from rundlet.cli import help as texts

    program = context.program
    if noun == "engine" and (not words or (words[0].startswith("-") and words[0] not in HELP_WORDS)):
        return _call(context, "engine", "engine.run", words)
    usage = f"Usage:  {program} {noun}\n\nRun '{program} {noun} --help' for more information"
    try:
        words = Parser((), interspersed=False).parse(words)
    except HelpRequested as exc:
        _tell_of_shorthand(exc)
        return _help_before(context, [*noun.split(), *exc.words])
    except FlagError as exc:
        raise UsageError(f"{exc.message}\n\n{usage}", 125) from exc
    if not words:
        # A noun alone is a question, not a command: the answer must not be taken for output.
        sys.stderr.write(texts.noun_help(program, noun))
        return 0
    if words[0] == "help":
        return _help_topic(context, [*noun.split(), *words[1:]])
    if f"{noun} {words[0]}" in catalog.NOUNS:
        return _noun(context, f"{noun} {words[0]}", words[1:])
    name = catalog.resolve((*noun.split(), words[0]))
    if not name and HELP_WORDS.intersection(words[1:]):
        return _out(texts.noun_help(program, noun))
    if not name:
        verbs = (*catalog.NOUNS[noun][1], *catalog.VERB_ALIASES.get(noun, {}))
        hint = _did_you_mean(words[0], verbs, f"{program} {noun} ")
        raise UsageError(f"{program}: unknown command: {program} {noun} {words[0]}\n\n{usage}{hint}")
    return _call(context, f"{noun} {words[0]}", name, words[1:])


def _did_you_mean(word: str, choices: Any, prefix: str = "") -> str:
    from rundlet.cli.suggest import did_you_mean

    return did_you_mean(word, choices, prefix)


def _call(context: Context, path: str, name: str, words: list[str]) -> int:
    program, module = context.program, _load(name)
    if getattr(module, "RAW", False):
        # The words are another program's business, --help included.
        return int(module.run(Invocation(context, path, module, {}, words)) or 0)
    parser = Parser(module.FLAGS, interspersed=getattr(module, "INTERSPERSED", True))
    args: list[str] = []
    try:
        try:
            args = parser.parse(words)
        except HelpRequested as exc:
            _tell_of_shorthand(exc)
            code = _command_help(program, path, module)
        except FlagError as exc:
            raise _flag_complaint(program, path, module, parser, exc) from exc
        else:
            _check_count(program, path, module, args)
            code = _carry_out(Invocation(context, path, module, parser.values, args), program, name)
    except CommandError as exc:
        _tell_plugins(context, path, parser, args, exc.message)
        raise
    finally:
        context.close()
    _tell_plugins(context, path, parser, args, f"exit status {code}" if code else "")
    return code


def _carry_out(invocation: Invocation, program: str, name: str) -> int:
    from rundlet.client.errors import ClientError

    path = invocation.path
    try:
        return int(invocation.module.run(invocation) or 0)
    except RunError as exc:
        message = exc.message and f"{program}: {exc.message}\n\nRun '{program} {path} --help' for more information"
        raise CommandError(message, exc.code) from exc
    except ClientError as exc:
        if name in PREFIXED:
            tail = f"\n\nRun '{program} {path} --help' for more information"
            raise CommandError(f"{program}: {exc}{tail}", 125) from exc
        raise CommandError(str(exc)) from exc


def _tell_plugins(context: Context, path: str, parser: Parser, args: list[str], error: str) -> None:
    """On a terminal, those that config.json names may have hints for the user. The command is done: whatever goes wrong
    with them is no failure of its own."""
    if sys.stdout.isatty() and "plugins" in context.config:
        from contextlib import suppress

        from rundlet.cli import hooks

        sys.stdout.flush()
        with suppress(CommandError, OSError, ValueError):
            hooks.run(context, hooks.Told(path, parser, args, error))


def _command_help(program: str, path: str, module: Any) -> int:
    from rundlet.cli.help import command_help

    return _out(command_help(program, path, module))


def _usage(program: str, path: str, module: Any, verb: str = "Run") -> str:
    from rundlet.cli.help import usage_line

    return f"{usage_line(program, path, module.USAGE)}\n\n{verb} '{program} {path} --help' for more information"


def _flag_complaint(program: str, path: str, module: Any, parser: Parser, exc: FlagError) -> UsageError:
    hint = ""
    if len(exc.name) > 1:
        hint = _did_you_mean(exc.name, parser.long, "--")
    return UsageError(f"{exc.message}\n\n{_usage(program, path, module)}{hint}", exc.code)


def _check_count(program: str, path: str, module: Any, args: list[str]) -> None:
    """Docker's complaints about too few or too many arguments; ``ARGS`` is (least, most), -1 for no limit."""
    least, most = module.ARGS
    if least <= len(args) and (most < 0 or len(args) <= most):
        return
    verb = "Run"
    if most == 0:
        wanted = "accepts no arguments"
    elif least == most:
        wanted = f"requires {least} argument{'' if least == 1 else 's'}"
    elif most < 0:
        wanted, verb = f"requires at least {least} argument{'' if least == 1 else 's'}", "See"
    elif least == 0:
        wanted = f"requires at most {most} argument{'' if most == 1 else 's'}"
    else:
        wanted = f"requires at least {least} and at most {most} arguments"
    raise UsageError(f"{program}: '{program} {path}' {wanted}\n\n{_usage(program, path, module, verb)}")
