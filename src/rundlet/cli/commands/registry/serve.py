"""``rundlet registry serve``: a registry of one's own, in the foreground, without engine and without root."""

from __future__ import annotations

import os
import sys

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Serve images to Docker, Podman and Rundlet (OCI distribution 1.1)"
ARGS = (0, 0)
FLAGS = (
    ("addr", "", "string", "Address to listen on, HOST:PORT (default 127.0.0.1:5000)"),
    ("htpasswd", "", "string", "File of users and bcrypt hashes; only they may use the registry"),
    ("mirror-of", "", "string", "URL of a registry: be its pull-through cache"),
    ("root", "", "string", "Directory of the content (default: rundlet-registry in the user's data directory)"),
    ("tls-cert", "", "string", "Certificate (PEM) to serve with TLS"),
    ("tls-key", "", "string", "Key (PEM) of the certificate"),
)

_RUN = (
    "import sys,runpy;sys.path.insert(0,sys.argv.pop(1));"
    "runpy.run_module('rundlet.registry.server',run_name='__main__',alter_sys=True)"
)


def _argv(arguments: list[str]) -> list[str]:
    """This very code in an interpreter that takes nothing from the caller's Python environment (-I)."""
    import rundlet

    home = os.path.dirname(os.path.dirname(os.path.abspath(rundlet.__file__)))
    if os.path.basename(home) in ("site-packages", "dist-packages"):
        return [sys.executable, "-I", "-m", "rundlet.registry.server", *arguments]
    return [sys.executable, "-I", "-c", _RUN, home, *arguments]


def run(call: Invocation) -> int:
    arguments: list[str] = []
    for name, *_ in FLAGS:
        if call.flags[name]:
            arguments += [f"--{name}", call.flags[name]]
    sys.stdout.flush()
    try:
        os.execv(sys.executable, _argv(arguments))
    except OSError as exc:
        raise CommandError(f"cannot start the registry: {sys.executable}: {exc.strerror}") from exc
