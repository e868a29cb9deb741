"""What ``trust inspect`` says of a repository: signed tags, signers, administrative keys."""

from __future__ import annotations

from rundlet.cli.format.natural import natural
from rundlet.trust.metadata import RELEASES, ROOT, TARGETS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.trust.trusted_set import TrustedSet

ADMIN = "Repo Admin"
_RELEASED = (TARGETS, RELEASES)


def signed_tags(trusted: TrustedSet, tag: str) -> list[dict[str, Any]]:
    """{SignedTag, Digest, Signers} of every released tag, or of ``tag``; no signers: the administrator signed it."""
    rows: dict[tuple[str, str], list[str]] = {}
    signed = [item for role in trusted.targets for item in trusted.names_in(role).values() if tag in ("", item.name)]
    keys = {id(item): (item.name, item.meta.hashes.get("sha256", b"").hex()) for item in signed}
    for item in signed:
        if item.role in _RELEASED:
            rows[keys[id(item)]] = []
    for item in signed:
        key = keys[id(item)]
        if item.role not in _RELEASED and key in rows:
            rows[key].append(signer_name(item.role))
    return [
        {"SignedTag": name, "Digest": digest, "Signers": signers}
        for (name, digest), signers in sorted(rows.items(), key=lambda row: (natural(row[0][0]), row[0][1]))
    ]


def signer_keys(trusted: TrustedSet) -> dict[str, list[str]]:
    """Key IDs by signer."""
    targets = trusted.targets[TARGETS]
    return {
        signer_name(role.name): [targets.keys[key].canonical_id if key in targets.keys else key for key in role.key_ids]
        for role in targets.delegations
        if role.name != RELEASES
    }


def admin_keys(trusted: TrustedSet) -> dict[str, list[str]]:
    """Key IDs of ``Root`` and ``Repository``, as metadata names them."""
    roles = trusted.root.roles
    return {"Root": sorted(roles[ROOT].key_ids), "Repository": sorted(roles[TARGETS].key_ids)}


def signer_name(role: str) -> str:
    return role.removeprefix(f"{TARGETS}/")
