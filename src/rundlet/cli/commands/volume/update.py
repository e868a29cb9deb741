"""``rundlet volume update``: of cluster volumes alone, in Docker's words."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.client.wire import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Update a volume (cluster volumes only)"
ARGS = (1, 1)
FLAGS = (("availability", "", "string", 'Cluster Volume availability ("active", "pause", "drain")', "active"),)


def run(call: Invocation) -> int:
    volume = call.context.session.get(f"/volumes/{quote(call.args[0])}")
    if not volume.get("ClusterVolume"):
        raise CommandError("can only update cluster volumes")
    call.context.session.json(
        "PUT", f"/volumes/{quote(call.args[0])}", body={"Spec": {"Availability": call.flags["availability"]}}
    )
    return 0
