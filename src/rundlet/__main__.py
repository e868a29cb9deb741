"""``python -m rundlet``: the same as the ``rundlet`` command."""

import sys

from rundlet.cli.main import main

sys.exit(main(["rundlet", *sys.argv[1:]]))
