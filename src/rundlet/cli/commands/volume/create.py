"""``rundlet volume create``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.options.environment import labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] [VOLUME]"
SHORT = "Create a volume"
ARGS = (0, 1)
FLAGS = (
    ("name", "", "string", ""),
    (
        "availability",
        "",
        "string",
        'Cluster Volume availability ("active", "pause", "drain") (default "active")',
        "active",
    ),
    ("driver", "d", "string", 'Specify volume driver name (default "local")', "local"),
    ("group", "", "string", "Cluster Volume group (cluster volumes)"),
    ("label", "", "label", "Set metadata for a volume"),
    ("limit-bytes", "", "bytes", "Minimum size of the Cluster Volume in bytes"),
    ("opt", "o", "map", "Set driver specific options (default map[])"),
    ("required-bytes", "", "bytes", "Maximum size of the Cluster Volume in bytes"),
    ("scope", "", "string", 'Cluster Volume access scope ("single", "multi") (default "single")', "single"),
    ("secret", "", "map", "Cluster Volume secrets (default map[])"),
    (
        "sharing",
        "",
        "string",
        'Cluster Volume access sharing ("none", "readonly", "onewriter", "all") (default "none")',
        "none",
    ),
    ("topology-preferred", "", "list", "A topology that the Cluster Volume would be preferred in"),
    ("topology-required", "", "list", "A topology that the Cluster Volume must be accessible from"),
    ("type", "", "string", 'Cluster Volume access type ("mount", "block") (default "block")', "block"),
)
CLUSTER = (
    "availability",
    "group",
    "limit-bytes",
    "required-bytes",
    "scope",
    "secret",
    "sharing",
    "topology-preferred",
    "topology-required",
    "type",
)


def run(call: Invocation) -> int:
    flags = call.flags
    for name in CLUSTER:
        if call.given(name):
            raise CommandError(f"--{name} (cluster volumes) is not supported by Rundlet")
    if call.args and flags["name"]:
        raise CommandError(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
        )
    body = {
        "Name": call.args[0] if call.args else flags["name"],
        "Driver": flags["driver"],
        "DriverOpts": dict(flags["opt"]),
        "Labels": labels(flags["label"]),
    }
    call.context.say(call.context.session.post("/volumes/create", body=body)["Name"])
    return 0
