"""``rundlet manifest annotate``."""

from __future__ import annotations

from rundlet.cli.exit import CommandError
from rundlet.cli.manifests import image_name, read_image, write_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] MANIFEST_LIST MANIFEST"
SHORT = "Add additional information to a local image manifest"
ARGS = (2, 2)
FLAGS = (
    ("arch", "", "string", "Set architecture"),
    ("os", "", "string", "Set operating system"),
    ("os-features", "", "strings", "Set operating system feature"),
    ("os-version", "", "string", "Set operating system version"),
    ("variant", "", "string", "Set architecture variant"),
)
# The pairs that Docker takes.
_VALID = {
    "linux": "386 amd64 arm arm64 ppc64le mips64 mips64le riscv64 s390x loong64",
    "windows": "386 amd64 arm arm64",
    "darwin": "386 amd64 arm arm64",
    "freebsd": "386 amd64 arm",
    "netbsd": "386 amd64 arm",
    "openbsd": "386 amd64 arm",
    "dragonfly": "amd64",
    "plan9": "386 amd64",
    "solaris": "amd64",
    "android": "arm",
}


def run(call: Invocation) -> int:
    name = image_name(call.args[0], "annotate: error parsing name for manifest list")
    image = image_name(call.args[1], "annotate: error parsing name for manifest")
    found = read_image(call.context, name, image)
    if found is None:
        raise CommandError(f"manifest for image {image} does not exist in {name}")
    flags = call.flags
    platform = found["Descriptor"].get("platform") or {"architecture": "", "os": ""}
    for flag, key in (("arch", "architecture"), ("os", "os"), ("variant", "variant"), ("os-version", "os.version")):
        if flags[flag]:
            platform[key] = flags[flag]
    known = platform.get("os.features") or []
    if flags["os-features"]:
        platform["os.features"] = [*known, *(part for part in flags["os-features"] if part not in known)]
    if platform["architecture"] not in _VALID.get(platform["os"], "").split():
        pair = f"{flags['os']}/{flags['arch']}"
        raise CommandError(f"manifest entry for image has unsupported os/arch combination: {pair}")
    found["Descriptor"]["platform"] = platform
    write_image(call.context, name, found)
    return 0
