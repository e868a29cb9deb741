"""The kinds of workers that the launcher forks, and what they run.

The launcher imports this before the shim: what shims touch then lies together on fewer pages of memory, and less has to
be copied for each of them.
"""

from collections.abc import Callable
from typing import Final

from rundlet.network.dns import worker as resolver
from rundlet.network.proxy import worker as proxy
from rundlet.runtime.logger import main as logger
from rundlet.storage.files import worker as files
from rundlet.storage.layer import apply, diff

WORKERS: Final[dict[str, Callable[[list[int]], int]]] = {
    "apply": apply.main,
    "diff": diff.main,
    "resolver": resolver.main,
    "proxy": proxy.main,
    "transparent-proxy": proxy.transparent,
    "files": files.main,
    "logger": logger.main,
}
