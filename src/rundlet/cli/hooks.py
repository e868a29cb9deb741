"""What Docker's plugins have to say after a command: the "What's next" of plugins that config.json names.

``{"plugins": {"NAME": {"hooks": "ps,image pull", "error-hooks": "build"}}, "features": {"hooks": "true"}}``: after one
of the commands, on a terminal, the plugin is told what was done, and answers with a template. What goes wrong with that
is nobody's business: the command is done. See: github.com/docker/cli, cli-plugins/hooks.
"""

from __future__ import annotations

import os
import sys

from rundlet.cli import catalog, plugins
from rundlet.cli.flags import TRUE, default_of
from rundlet.client.wire import DecodeError, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.context import Context
    from rundlet.cli.flags import Parser

SUBCOMMAND = "docker-cli-plugin-hooks"
NEXT_STEPS = 0
"""The one type of answer that there is."""


class Told:
    """What was done: the command by its own name, its flags' texts (of ``given``, which a plugin is sent, switches'
    alone) and its arguments; ``error`` is empty after a success."""

    __slots__ = ("args", "error", "flags", "given", "path")

    def __init__(self, path: str, parser: Parser, args: list[str], error: str) -> None:
        noun, blank, verb = path.rpartition(" ")
        self.path = noun + blank + catalog.VERB_ALIASES.get(noun, {}).get(verb, verb)
        texts = parser.values.given
        self.flags = {name: _default(flag) for name, flag in parser.long.items()} | texts
        switches = {"help", *(name for name, flag in parser.long.items() if flag[2] == "bool")}
        self.given = {name: _truth(text) if name in switches else "" for name, text in texts.items()}
        self.args = args
        self.error = error


def _truth(text: str) -> str:
    return "true" if text in TRUE else "false"


def _default(flag: tuple[Any, ...]) -> str:
    """A flag's value where it is not given, as Go shows it."""
    value = default_of(flag)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "[]" if isinstance(value, list) else str(value)


def run(context: Context, told: Told) -> None:
    """Ask the plugins that want to know of this command, and print what they answer."""
    steps: list[str] = []
    if enabled(context.config):
        for name, settings in sorted(context.config["plugins"].items()):
            matching = _match(settings, told)
            if matching:
                steps += _ask(context, name, matching, told)
    if steps:
        lines = "".join(f"    {step}\n" for step in steps)
        sys.stdout.flush()
        sys.stderr.write(f"\x1b[1m\nWhat's next:\x1b[0m\n{lines}")


def enabled(config: dict[str, Any]) -> bool:
    """``DOCKER_CLI_HOOKS``, else ``DOCKER_CLI_HINTS`` (as it was called once), else ``features.hooks`` of the
    configuration; what is no truth value is false."""
    asked = os.environ.get("DOCKER_CLI_HOOKS") or os.environ.get("DOCKER_CLI_HINTS")
    return (asked or config.get("features", {}).get("hooks")) in TRUE


def _match(settings: dict[str, Any], told: Told) -> str:
    """The command or its beginning that the plugin wants to hear of; empty when that is none of them."""
    words = told.path.split(" ")
    for key in ("hooks", "error-hooks") if told.error else ("hooks",):
        for wanted in str(settings.get(key) or "").split(","):
            if wanted and wanted.split(" ") == words[: wanted.count(" ") + 1]:
                return wanted
    return ""


def _ask(context: Context, name: str, matching: str, told: Told) -> list[str]:
    import subprocess

    plugin = plugins.find(context, name)
    if plugin is None:
        return []
    question = {"RootCmd": matching, "Flags": told.given, "CommandError": told.error}
    try:
        done = subprocess.run(
            [plugin.path, name, SUBCOMMAND, dumps(question)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=plugins.environment(),
            check=False,
            timeout=plugins.PATIENCE,
        )
        answer = loads(done.stdout) if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, DecodeError):
        return []
    if not isinstance(answer, dict) or answer.get("Type", NEXT_STEPS) != NEXT_STEPS:
        return []
    lines = _filled(str(answer.get("Template") or ""), told).split("\n")
    return lines if any(line.strip() for line in lines) else []


def _filled(template: str, told: Told) -> str:
    from rundlet.util.template import TemplateError, compile_template
    from rundlet.util.template.errors import ExecutionError

    def flag(_command: Any, name: Any) -> str:
        if name not in told.flags:
            raise ExecutionError(f"no flag {name}")
        return told.flags[name]

    def argument(_command: Any, number: Any) -> str:
        if not isinstance(number, int):
            raise ExecutionError(f"no number: {number}")
        return told.args[number] if 0 <= number < len(told.args) else ""

    name = told.path.rpartition(" ")[2]
    try:
        return compile_template(template, {"flag": flag, "arg": argument}).render({"Name": name})
    except TemplateError:
        return ""
