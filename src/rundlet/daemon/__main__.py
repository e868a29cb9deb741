"""``python -m rundlet.daemon``."""

import os
import sys

if os.geteuid() != 0:
    # Before anything is imported that an ordinary user's engine would import again inside its namespaces.
    from rundlet.daemon.rootless.start import main
else:
    from rundlet.daemon.main import main

sys.exit(main(sys.argv[1:]))
