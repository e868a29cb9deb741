"""``rundlet network disconnect``."""

from __future__ import annotations

from rundlet.cli.each import check_name, object_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] NETWORK CONTAINER"
SHORT = "Disconnect a container from a network"
ARGS = (2, 2)
FLAGS = (("force", "f", "bool", "Force the container to disconnect from a network"),)


def run(call: Invocation) -> int:
    network, container = call.args
    check_name("container", container)
    body = {"Container": container, "Force": call.flags["force"]}
    call.context.session.post(object_path("network", network, "disconnect"), body=body)
    return 0
