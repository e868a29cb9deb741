"""``rundlet trust policy``: what the policy file of this machine says, and whether it can be understood."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation
    from rundlet.trust.policy import Policy

USAGE = "[OPTIONS] [IMAGE...]"
SHORT = "Show or check the policy that the engine enforces on images"
LONG = (
    "Show or check the policy that the engine enforces on images.\n"
    "Without IMAGE all rules are listed, else the rule that counts for each IMAGE."
)
ARGS = (0, -1)
FLAGS = (("file", "", "string", 'Policy to read (default "/etc/rundlet/trust-policy.json")'),)


def run(call: Invocation) -> int:
    from rundlet.cli.format.table import layout
    from rundlet.trust.errors import TrustError
    from rundlet.trust.policy import DEFAULT_PATH, PolicyFile

    path = call.flags["file"]
    try:
        policy = PolicyFile(path or DEFAULT_PATH, required=bool(path)).current()
    except TrustError as exc:
        raise CommandError(str(exc)) from exc
    if call.args:
        rows = [("IMAGE", "RULE"), *((name, _rule_for(policy, name)) for name in call.args)]
    else:
        rules = [(scope, str(rule)) for scope, rule in sorted(policy.rules.items())]
        rows = [("SCOPE", "RULE"), *rules, ("(default)", str(policy.default))]
    sys.stdout.write(layout(rows))
    return 0


def _rule_for(policy: Policy, text: str) -> str:
    from rundlet.cli.reference import parse

    return str(policy.rule_for(parse(text).name))
