"""``rundlet network disconnect``."""

from __future__ import annotations

from rundlet.client.wire import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NETWORK CONTAINER"
SHORT = "Disconnect a container from a network"
ARGS = (2, 2)
FLAGS = (("force", "f", "bool", "Force the container to disconnect from a network"),)


def run(call: Invocation) -> int:
    network, container = call.args
    body = {"Container": container, "Force": call.flags["force"]}
    call.context.session.post(f"/networks/{quote(network)}/disconnect", body=body)
    return 0
