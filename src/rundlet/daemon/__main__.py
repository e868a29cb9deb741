"""``python -m rundlet.daemon``."""

import signal
import sys
from collections.abc import Callable, Sequence

from rundlet.daemon.rights import sufficient


def _main() -> Callable[[Sequence[str]], int]:
    if sufficient() or "--validate" in sys.argv:
        from rundlet.daemon.main import main
    else:
        # Before anything is imported that the engine would import again inside its namespaces.
        from rundlet.daemon.rootless.start import main
    return main


def _show(what: str) -> int:
    """The command line has the texts; it is run, as it is no part of the engine."""
    import runpy

    sys.argv = ["rundlet", *(["--version"] if what == "version" else ["engine", "run", "--help"])]
    runpy.run_module("rundlet", run_name="__main__")
    return 0


def run() -> int:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # As long as there is nothing to clean up, it ends as by any other signal; Python would show where it was.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rundlet.daemon.flags import InformationRequested

    try:
        return _main()(sys.argv[1:])
    except InformationRequested as asked:
        return _show(asked.what)


sys.exit(run())
