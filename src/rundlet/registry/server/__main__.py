"""``python -m rundlet.registry.server``."""

import sys

from rundlet.registry.server.main import main

sys.exit(main(sys.argv[1:]))
