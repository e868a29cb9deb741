"""Docker's command-line plugins (``docker-compose``, ``docker-buildx``, …): found where Docker looks for them, and run.

A plugin is a program ``docker-NAME`` that describes itself when it is called with ``docker-cli-plugin-metadata``. It
is asked before it is run, as a program of that name need not be one. It then takes the place of this process, so that
the terminal, signals and the exit status are its own business.

See: https://github.com/docker/cli/issues/1534, the plugins' protocol.
"""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError
from rundlet.client.wire import DecodeError, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn

    from rundlet.cli.context import Context

PREFIX = "docker-"
QUESTION = "docker-cli-plugin-metadata"
SCHEMA = "0.1.0"
ALIASED = "builder"
OWN_PLUGIN = "buildx"
"""Part of which is a command of ours; the rest is the plugin's, where there is one."""
PATIENCE = 20.0
"""Seconds that a program has to describe itself: it need not be a plugin, and could wait for input for ever."""
MACHINE_DIRECTORIES = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


class Plugin:
    """A program that was asked what it is: ``described`` is what it said, ``error`` why it is no plugin."""

    __slots__ = ("described", "error", "name", "path")

    def __init__(self, name: str, path: str, described: dict[str, Any], error: str = "") -> None:
        self.name = name
        self.path = path
        self.described = described
        self.error = error

    @property
    def summary(self) -> str:
        return str(self.described.get("ShortDescription") or "")

    def shown(self) -> dict[str, Any]:
        """As ``info --format json`` lists it."""
        return {**self.described, "Name": self.name, "Path": self.path}


def find(context: Context, name: str) -> Plugin | None:
    """The plugin ``name``, when there is one that describes itself well."""
    if not _is_name(name):
        return None
    for directory in _directories(context):
        path = os.path.join(directory, PREFIX + name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            plugin = _ask(name, path)
            return None if plugin.error else plugin
    return None


def every(context: Context, taken: Sequence[str] = (), start: str = "") -> list[Plugin]:
    """All programs that look like plugins and whose names begin with ``start``, sorted; not those that bear the name of
    a command (``taken``)."""
    found: dict[str, str] = {}
    for directory in _directories(context):
        for file, path in _programs(directory):
            name = file.removeprefix(PREFIX)
            if name not in taken and name.startswith(start):
                found.setdefault(name, path)
    return [_ask(name, found[name]) for name in sorted(found)]


def aliases(config: dict[str, Any]) -> dict[str, str]:
    """As Docker has it, ``builder`` alone may stand for another command, a plugin's. Raises CommandError."""
    from rundlet.cli import catalog

    found: dict[str, str] = config.get("aliases", {})
    for name, target in found.items():
        if name != ALIASED:
            raise CommandError(f'not allowed to alias "{name}" (allowed: {ALIASED})')
        if target != OWN_PLUGIN and (target in catalog.NOUNS or catalog.resolve(tuple(target.split(" ")))):
            raise CommandError(f'not allowed to alias with builtin "{target}" as target')
    return found


def become(context: Context, plugin: Plugin, words: Sequence[str]) -> NoReturn:
    """Run the plugin in place of this process, with the words that this process was called with."""
    import signal

    variables = environment() | _engine(context)
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # the interpreter ignores it, and the next program would inherit that
    os.execve(plugin.path, [plugin.path, *words], variables)


def complete(context: Context, plugin: Plugin, words: Sequence[str], *, described: bool) -> int:
    """What the plugin proposes for its own part of a command line, on our standard output."""
    import subprocess

    question = "__complete" if described else "__completeNoDesc"
    variables = environment()
    if context.endpoint() is None and not context.settings["host"]:
        variables["DOCKER_HOST"] = context.default_host()
    sys.stdout.flush()
    try:
        return subprocess.run(
            [plugin.path, question, *words],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=variables,
            check=False,
            timeout=PATIENCE,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return 1


def environment() -> dict[str, str]:
    """Our own variables, and the name under which Compose calls us back, for what another plugin does."""
    return {**os.environ, "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND": _ourselves()}


def _ourselves() -> str:
    """This program's path; the plugin may be in another directory than we were started in."""
    own = sys.argv[0]
    return os.path.abspath(own) if os.sep in own else own


def _engine(context: Context) -> dict[str, str]:
    """What tells a plugin of our own engine, which listens where no client of Docker's looks."""
    from rundlet.client.errors import ClientError

    if context.settings["host"] or context.endpoint() is not None:
        own = os.environ.get("RUNDLET_HOST", "")
        return {"DOCKER_HOST": own} if own and not context.settings["host"] else {}
    try:
        context.session.get("/version")
    except ClientError as exc:
        context.warn(f"WARNING: {exc}")  # much of what a plugin does needs no engine
    finally:
        context.close()
    return {"DOCKER_HOST": context.default_host()}


def _directories(context: Context) -> list[str]:
    own = os.path.join(context.config_directory, "cli-plugins")
    return [*context.config.get("cliPluginsExtraDirs", ()), own, *MACHINE_DIRECTORIES]


def _programs(directory: str) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(directory) as entries:
            files = sorted(entry.name for entry in entries if entry.is_file())
    except OSError:
        return
    for file in files:
        path = os.path.join(directory, file)
        if file.startswith(PREFIX) and _is_name(file.removeprefix(PREFIX)) and os.access(path, os.X_OK):
            yield file, path


def _is_name(name: str) -> bool:
    """Lower-case letters and digits, a letter first: what Docker takes for a command."""
    return name.isascii() and name.isalnum() and name == name.lower() and not name[:1].isdigit()


def _ask(name: str, path: str) -> Plugin:
    import subprocess

    try:
        done = subprocess.run(
            [path, QUESTION], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Plugin(name, path, {}, f"failed to fetch metadata: {exc}")
    if done.returncode:
        return Plugin(name, path, {}, f"failed to fetch metadata: exit status {done.returncode}")
    try:
        described = loads(done.stdout)
    except DecodeError as exc:
        return Plugin(name, path, {}, f"invalid metadata: {exc}")
    return _read(name, path, described)


def _read(name: str, path: str, described: Any) -> Plugin:
    if not isinstance(described, dict):
        return Plugin(name, path, {}, "invalid metadata: no object")
    schema, vendor = described.get("SchemaVersion"), described.get("Vendor")
    if schema != SCHEMA:
        return Plugin(name, path, {}, f'plugin SchemaVersion "{schema or ""}" is not valid: must be {SCHEMA}')
    if not vendor:
        return Plugin(name, path, {}, "plugin metadata does not define a vendor")
    return Plugin(name, path, described)
