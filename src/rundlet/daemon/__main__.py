"""``python -m rundlet.daemon``."""

import sys

from rundlet.daemon.main import main

sys.exit(main(sys.argv[1:]))
