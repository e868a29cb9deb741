"""Flags that many commands share."""

from __future__ import annotations

_TEMPLATE = (
    "'json':             Print in JSON format\n"
    "'TEMPLATE':         Print output using the given Go template.\n"
    "Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"
)

INSPECT_FORMAT = ("format", "f", "string", "Format output using a custom template:\n" + _TEMPLATE)
LINE_FORMAT = ("format", "", "string", "Format output using a custom template:\n" + _TEMPLATE)
LINE_FORMAT_SHORT = INSPECT_FORMAT
TABLE_FORMAT = (
    "format",
    "",
    "string",
    "Format output using a custom template:\n"
    "'table':            Print output in table format with column headers (default)\n"
    "'table TEMPLATE':   Print output in table format using the given Go template\n" + _TEMPLATE,
)
