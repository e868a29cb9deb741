"""``rundlet build``."""

from __future__ import annotations

import os
import sys

from rundlet.cli.contenttrust import enabled
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] PATH | URL | -"
SHORT = "Build an image from a Dockerfile"
ARGS = (1, 1)
FLAGS = (
    ("add-host", "", "host", 'Add a custom host-to-IP mapping (format: "host:ip")'),
    ("allow", "", "list", 'Allow extra privileged entitlement (e.g., "network.host", "security.insecure")'),
    ("annotation", "", "list", "Add annotation to the image"),
    ("attest", "", "list", 'Attestation parameters (format: "type=sbom,generator=image")'),
    ("build-arg", "", "list", "Set build-time variables"),
    ("build-context", "", "list", "Additional build contexts (e.g., name=path)"),
    ("cache-from", "", "list", 'External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")'),
    ("cache-to", "", "list", 'Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")'),
    ("call", "", "string", 'Set method for evaluating build ("check", "outline", "targets")', "build"),
    ("cgroup-parent", "", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
    ("check", "", "bool", 'Shorthand for "--call=check"'),
    ("compress", "", "bool", "Compress the build context using gzip"),
    ("cpu-period", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    ("cpu-quota", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    ("disable-content-trust", "", "bool", "Skip image verification (default true)", True),
    ("file", "f", "string", 'Name of the Dockerfile (default: "PATH/Dockerfile")'),
    ("force-rm", "", "bool", "Always remove intermediate containers"),
    ("iidfile", "", "string", "Write the image ID to a file"),
    ("isolation", "", "string", "Container isolation technology"),
    ("label", "", "label", "Set metadata for an image"),
    ("load", "", "bool", 'Shorthand for "--output=type=docker"'),
    ("memory", "m", "bytes", "Memory limit"),
    ("memory-swap", "", "swap", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    ("metadata-file", "", "string", "Write build result metadata to a file"),
    ("network", "", "string", 'Set the networking mode for the "RUN" instructions during build', "default"),
    ("no-cache", "", "bool", "Do not use cache when building the image"),
    ("no-cache-filter", "", "strings", "Do not cache specified stages"),
    ("output", "o", "list", 'Output destination (format: "type=local,dest=path")'),
    ("platform", "", "strings", "Set target platform for build"),
    (
        "progress",
        "",
        "string",
        'Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty"). Use plain to show container '
        "output",
    ),
    ("provenance", "", "string", 'Shorthand for "--attest=type=provenance"'),
    ("pull", "", "bool", "Always attempt to pull all referenced images"),
    ("push", "", "bool", 'Shorthand for "--output=type=registry"'),
    ("quiet", "q", "bool", "Suppress the build output and print image ID on success"),
    ("rm", "", "bool", "Remove intermediate containers after a successful build", True),
    ("sbom", "", "string", 'Shorthand for "--attest=type=sbom"'),
    ("secret", "", "list", 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'),
    ("security-opt", "", "strings", "Security options"),
    ("shm-size", "", "bytes", "Shared memory size for build containers"),
    ("squash", "", "bool", "Squash newly built layers into a single new layer"),
    (
        "ssh",
        "",
        "list",
        'SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")',
    ),
    ("tag", "t", "list", 'Image identifier (format: "[registry/]repository[:tag]")'),
    ("target", "", "string", "Set the target build stage to build"),
    ("ulimit", "", "ulimit", "Ulimit options"),
)


def run(call: Invocation) -> int:
    flags = call.flags
    if flags["isolation"] not in ("", "default"):
        raise CommandError(f"--isolation={flags['isolation']} is not supported by Rundlet")
    sys.stdout.flush()
    if os.environ.get("DOCKER_BUILDKIT") and not call.path.startswith("buildx"):
        from rundlet.cli.building import classic

        if classic.wanted():
            return classic.build(call.context, flags, call.args[0], signed_only=enabled(call))
    from rundlet.cli.building.build import build

    return build(call.context, flags, call.args[0], signed_only=enabled(call))
