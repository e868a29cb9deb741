"""``rundlet engine``: the engine in the foreground, with the engine's own flags."""

from __future__ import annotations

import os
import sys

from rundlet.cli import paths
from rundlet.cli.engine_start import engine_argv
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Run the engine in the foreground"
ARGS = (0, -1)
FLAGS = ()
# The engine reads and explains its flags itself (--help too).
RAW = True


def run(call: Invocation) -> int:
    given = {word.partition("=")[0] for word in call.args}
    arguments = list(call.args)
    if os.environ.get("RUNDLET_ROOT") and "--data-root" not in given:
        arguments += ["--data-root", paths.data_root()]
    if os.environ.get("RUNDLET_RUN") and "--exec-root" not in given:
        arguments += ["--exec-root", paths.run_directory()]
    sys.stdout.flush()
    try:
        os.execv(sys.executable, engine_argv(arguments))
    except OSError as exc:
        raise CommandError(f"cannot start the engine: {sys.executable}: {exc.strerror}") from exc
