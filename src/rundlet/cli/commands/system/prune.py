"""``rundlet system prune``: containers, networks, volumes and images, in that order."""

from __future__ import annotations

from rundlet.cli.commands.image.prune import print_deleted
from rundlet.cli.exit import CommandError
from rundlet.cli.options.filters import filters_query
from rundlet.cli.pruning import chosen, confirm, print_reclaimed, print_removed, total

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Remove unused data"
ARGS = (0, 0)
FLAGS = (
    ("all", "a", "bool", "Remove all unused images not just dangling ones"),
    ("filter", "", "filter", 'Provide filter values (e.g. "label=<key>=<value>")'),
    ("force", "f", "bool", "Do not prompt for confirmation"),
    ("volumes", "", "bool", "Prune anonymous volumes"),
)


def _warning(call: Invocation) -> str:
    flags = call.flags
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if flags["volumes"]:
        lines.append("all anonymous volumes not used by at least one container")
    lines.append(
        "all images without at least one container associated to them" if flags["all"] else "all dangling images"
    )
    lines.append("all build cache" if flags["all"] else "unused build cache")
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    filters = chosen(call)
    if filters:
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {line}\n" for line in sorted(f"{name}={value}" for name, value in filters))
    return text + "\nAre you sure you want to continue?"


def run(call: Invocation) -> int:
    flags, context, session = call.flags, call.context, call.context.session
    if flags["volumes"] and any(name == "until" for name, _ in flags["filter"]):
        raise CommandError('ERROR: The "until" filter is not supported with "--volumes"')
    if not flags["force"] and not confirm(_warning(call)):
        return 0
    selected = chosen(call)
    filters = {"filters": filters_query(selected)}
    answer = session.post("/containers/prune", filters)
    print_removed(context, "Deleted Containers:", answer.get("ContainersDeleted") or ())
    size = total(answer)
    answer = session.post("/networks/prune", filters)
    print_removed(context, "Deleted Networks:", answer.get("NetworksDeleted") or ())
    if flags["volumes"]:
        answer = session.post("/volumes/prune", filters)
        print_removed(context, "Deleted Volumes:", answer.get("VolumesDeleted") or ())
        size += total(answer)
    images = [*selected, ("dangling", "false" if flags["all"] else "true")]
    answer = session.post("/images/prune", {"filters": filters_query(images)})
    print_deleted(context, answer.get("ImagesDeleted") or ())
    size += total(answer)
    build = {"all": True if flags["all"] else None, **filters}
    answer = session.post("/build/prune", build) or {}
    print_removed(context, "Deleted build cache objects:", answer.get("CachesDeleted") or ())
    print_reclaimed(context, size + total(answer))
    return 0
