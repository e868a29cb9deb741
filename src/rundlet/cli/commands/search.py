"""``rundlet search``."""

from __future__ import annotations

from rundlet.cli.credentials import registry_headers
from rundlet.cli.format.rows import print_rows
from rundlet.cli.format.table import ellipsis
from rundlet.cli.options.filters import filters_query
from rundlet.cli.reference import DOCKER_HUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS] TERM"
SHORT = "Search Docker Hub for images"
ARGS = (1, 1)
FLAGS = (
    ("filter", "f", "filter", "Filter output based on conditions provided"),
    ("format", "", "string", "Pretty-print search using a Go template"),
    ("limit", "", "int", "Max number of search results"),
    ("no-trunc", "", "bool", "Don't truncate output"),
)
DESCRIPTION_WIDTH = 45


def _description(item: Any, full: bool) -> str:
    text = str(item.get("description") or "").replace("\n", " ").replace("\r", " ")
    return text if full else ellipsis(text, DESCRIPTION_WIDTH)


FIELDS = {
    "Description": ("DESCRIPTION", _description),
    "IsOfficial": ("OFFICIAL", lambda item, full: "[OK]" if item.get("is_official") else ""),
    "Name": ("NAME", lambda item, full: item.get("name", "")),
    "StarCount": ("STARS", lambda item, full: str(item.get("star_count", 0))),
}


def run(call: Invocation) -> int:
    flags, term = call.flags, call.args[0]
    first, slash, _ = term.partition("/")
    domain = first if slash and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB
    if any(key == "is-automated" for key, _value in flags["filter"]):
        call.context.warn(
            'WARNING: the "is-automated" filter is deprecated, and searching for "is-automated=true" will not yield '
            "any results in future."
        )
    limit = flags["limit"] if flags["limit"] > 0 else None
    query = {"term": term, "limit": limit, "filters": filters_query(flags["filter"])}
    response = call.context.session.request(
        "GET", "/images/search", query=query, headers=registry_headers(call.context, domain)
    )
    items = response.json() or []
    columns = ("Name", "Description", "StarCount", "IsOfficial")
    print_rows(
        call.context,
        items,
        FIELDS,
        columns,
        template=flags["format"],
        full=flags["no-trunc"],
        type_name="registry.searchContext",
        in_json={"IsOfficial": lambda item, full: "true" if item.get("is_official") else "false"},
    )
    return 0
