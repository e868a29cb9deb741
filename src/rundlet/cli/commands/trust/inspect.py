"""``rundlet trust inspect``."""

from __future__ import annotations

import sys

from rundlet.cli.exit import CommandError
from rundlet.cli.format.natural import natural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation
    from rundlet.trust.trusted_set import TrustedSet

USAGE = "IMAGE[:TAG] [IMAGE[:TAG]...]"
SHORT = "Return low-level information about keys and signatures"
ARGS = (1, -1)
FLAGS = (("pretty", "", "bool", "Print the information in a human friendly format"),)


def run(call: Invocation) -> int:
    if call.flags["pretty"]:
        for number, remote in enumerate(call.args):
            sys.stdout.write("\n\n" if number else "")
            sys.stdout.write(_text(call, remote))
        return 0
    from rundlet.cli.inspecting import inspect_all

    return inspect_all(call.args, lambda remote: (_object(call, remote), ""), "")


def _fetch(call: Invocation, remote: str) -> tuple[TrustedSet, str]:
    from rundlet.cli.reference import parse
    from rundlet.cli.trust.repository import TrustedRepository
    from rundlet.trust.errors import TrustError

    name = parse(remote)
    try:
        trusted = TrustedRepository(call.context, name).fetch()
    except TrustError as exc:
        # Docker hides the reason from those who don't debug; it is what the user needs.
        raise CommandError(f"no signatures or cannot access {remote}: {exc.explain(name.name)}") from exc
    for role, error in trusted.invalid.items():
        call.context.warn(f"WARNING: {role} signs for nothing: {error}")
    return trusted, name.tag


def _object(call: Invocation, remote: str) -> dict[str, Any]:
    from rundlet.cli.trust import info

    trusted, tag = _fetch(call, remote)
    tags = info.signed_tags(trusted, tag)
    signers = info.signer_keys(trusted)
    return {
        "Name": remote,
        "SignedTags": [{**row, "Signers": row["Signers"] or [info.ADMIN]} for row in tags],
        "Signers": [
            {"Name": name, "Keys": [{"ID": key} for key in signers[name]]} for name in sorted(signers, reverse=True)
        ],
        "AdministrativeKeys": [
            {"Name": name, "Keys": [{"ID": key} for key in keys]} for name, keys in info.admin_keys(trusted).items()
        ],
    }


def _text(call: Invocation, remote: str) -> str:
    from rundlet.cli.format.table import layout
    from rundlet.cli.trust import info

    trusted, tag = _fetch(call, remote)
    tags = info.signed_tags(trusted, tag)
    if tags:
        rows = [
            (row["SignedTag"], row["Digest"], ", ".join(sorted(row["Signers"])) or f"({info.ADMIN})") for row in tags
        ]
        text = f"\nSignatures for {remote}\n\n" + layout([("SIGNED TAG", "DIGEST", "SIGNERS"), *rows])
    else:
        text = f"\nNo signatures for {remote}\n\n"
    signers = info.signer_keys(trusted)
    if signers:
        listed = [(name, ", ".join(key[:12] for key in signers[name])) for name in sorted(signers, key=natural)]
        text += f"\nList of signers and their keys for {remote}\n\n" + layout([("SIGNER", "KEYS"), *listed])
    text += f"\nAdministrative keys for {remote}\n\n"
    keys = info.admin_keys(trusted)
    return text + "".join(f"  {name} Key:\t{', '.join(keys[name])}\n" for name in ("Repository", "Root"))
