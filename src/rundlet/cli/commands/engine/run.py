"""``rundlet engine``: the engine in the foreground, with the engine's own flags."""

from __future__ import annotations

import os
import sys

from rundlet.cli.engine_start import engine_argv
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Run the engine in the foreground (also: rundlet engine [OPTIONS])"
ARGS = (0, 0)
# The engine reads its flags itself; the table is what --help shows. Settings are also keys of daemon.json.
RAW = True
FLAGS = (
    ("add-runtime", "", "NAME=PATH", "Register an OCI runtime"),
    ("bip", "", "string", "IP address and prefix of the default bridge"),
    ("cdi-spec-dir", "", "list", "Directory of CDI specifications (default /etc/cdi and /var/run/cdi)"),
    ("config-file", "", "string", "The engine's configuration file (daemon.json)"),
    ("data-root", "", "string", "Directory of images, containers and volumes"),
    ("debug", "D", "bool", "Log everything"),
    ("default-address-pool", "", "list", "What networks' subnets are cut from (base=SUBNET,size=PREFIX)"),
    ("default-runtime", "", "string", "Runtime of containers that ask for none"),
    ("exec-root", "", "string", "Directory of sockets and locks"),
    ("group", "G", "string", "Group that may use the socket (default rundlet, if there is one)"),
    ("host", "H", "list", "Further addresses to listen on (unix://PATH, tcp://HOST:PORT)"),
    ("insecure-registry", "", "list", "Registry without TLS (127.0.0.0/8 always)"),
    ("log-driver", "", "string", "Log driver of containers that ask for none (default json-file)"),
    ("log-level", "l", "string", '"debug", "info", "warn", "error" or "fatal" (default "info")'),
    ("log-opt", "", "list", "Its options (NAME=VALUE), under those of each container"),
    ("pidfile", "p", "string", "File for the process ID"),
    ("registry-mirror", "", "list", "Mirror of Docker Hub"),
)


def run(call: Invocation) -> int:
    if "--help" in call.args or "-h" in call.args:
        from rundlet.cli.help import command_help

        sys.stdout.write(command_help(call.context.program, call.path, call.module))
        return 0
    sys.stdout.flush()
    try:
        # $RUNDLET_ROOT and $RUNDLET_RUN are read by the engine as they are here.
        os.execv(sys.executable, engine_argv(call.args))
    except OSError as exc:
        raise CommandError(f"cannot start the engine: {sys.executable}: {exc.strerror}") from exc
