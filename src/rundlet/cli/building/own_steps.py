"""Steps that happen on this side, as the display knows steps: the context on its way, the result's names."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CONTEXT = "rundlet:context"
_RESULT = "rundlet:result"


def now() -> str:
    """This moment in RFC 3339."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e9):09d}Z"


class ContextStep:
    """``transferring context``."""

    def __init__(self) -> None:
        self._started = now()

    def message(self, size: int, *, done: bool) -> dict[str, Any]:
        """The step with ``size`` bytes sent."""
        moment = now()
        vertex = {"digest": _CONTEXT, "name": "[internal] load build context", "started": self._started}
        status = {"id": "transferring context:", "vertex": _CONTEXT, "current": size, "timestamp": moment}
        if done:
            vertex["completed"] = moment
            status["completed"] = moment
        return {"vertexes": [vertex], "statuses": [status]}


def result_step(image: str, names: list[str]) -> dict[str, Any]:
    """What the image is called from now on; ``names`` in their full form."""
    moment = now()
    vertex = {"digest": _RESULT, "name": "exporting to image", "started": moment, "completed": moment}
    texts = [f"writing image {image}", *(f"naming to {name}" for name in names)]
    statuses = [{"id": text, "vertex": _RESULT, "timestamp": moment, "completed": moment} for text in texts]
    return {"vertexes": [vertex], "statuses": statuses}
