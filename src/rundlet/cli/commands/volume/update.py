"""``rundlet volume update``: of cluster volumes alone, in Docker's words."""

from __future__ import annotations

from rundlet.cli.each import object_path
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Update a volume (cluster volumes only)"
ARGS = (1, 1)
FLAGS = (("availability", "", "string", 'Cluster Volume availability ("active", "pause", "drain")', "active"),)


def run(call: Invocation) -> int:
    path = object_path("volume", call.args[0])
    volume = call.context.session.get(path)
    if not volume.get("ClusterVolume"):
        raise CommandError("can only update cluster volumes")
    call.context.session.json("PUT", path, body={"Spec": {"Availability": call.flags["availability"]}})
    return 0
