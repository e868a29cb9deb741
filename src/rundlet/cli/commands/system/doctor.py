"""``rundlet system doctor``: what this machine offers an engine of this user's, and what would make it better.

It looks for itself and starts nothing: an engine that can't start is when it is needed.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Say what this machine lacks for containers, and what would help"
ARGS = (0, 0)
FLAGS = (("json", "", "bool", "Print the findings as JSON"),)


def run(call: Invocation) -> int:
    """Exit status 1 when something is missing without which no engine of this user's can work."""
    from rundlet.cli.doctor import MISSING, examine

    findings = examine(os.geteuid())
    if call.flags["json"]:
        import json

        call.context.say(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        from rundlet.cli.format.table import layout

        rows = [(finding.name, finding.state, finding.found) for finding in findings]
        sys.stdout.write(layout([("CHECK", "STATE", "FOUND"), *rows]))
        remedies = [finding for finding in findings if finding.remedy]
        if remedies:
            sys.stdout.write("\n")
        for finding in remedies:
            sys.stdout.write(f"{finding.name}: {finding.remedy}\n")
    return 1 if any(finding.state == MISSING for finding in findings) else 0
