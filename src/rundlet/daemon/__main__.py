"""``python -m rundlet.daemon``."""

import sys

from rundlet.daemon.rights import sufficient

if sufficient():
    from rundlet.daemon.main import main
else:
    # Before anything is imported that the engine would import again inside its namespaces.
    from rundlet.daemon.rootless.start import main

sys.exit(main(sys.argv[1:]))
