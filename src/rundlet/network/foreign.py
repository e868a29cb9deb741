"""The one exception to "touch only our own": letting our bridges through a forward chain that drops by default.

A packet goes through the forward chains of every table, and each of them may drop it: an accept of ours can't beat the
drop policy that Docker, ufw or firewalld set. So each such chain gets two commented rules per bridge (into it, out of
it; our own forward chain has already decided by then, or will). They are recorded before they are made, put back when
a reload loses them, and removed with the last network.
"""

import errno
import subprocess
from collections.abc import Collection, Sequence

import msgspec

from rundlet.linux import nft, nftexpr
from rundlet.linux.nft import Batch, ChainInfo, Nft
from rundlet.util.database import Database

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS firewall_exceptions (
        family INTEGER NOT NULL,
        table_name TEXT NOT NULL,
        chain TEXT NOT NULL,
        PRIMARY KEY (family, table_name, chain)
    ) WITHOUT ROWID""",
)

_OWN_TABLES = "rundlet_"
_DOCKER_USER = "DOCKER-USER"
_FIREWALLD = ("firewalld", "filter_FORWARD")
_LEGACY, _LEGACY6 = 0, -6
_LEGACY_PROGRAMS = {
    _LEGACY: ("/usr/sbin/iptables-legacy", "/proc/net/ip_tables_names"),
    _LEGACY6: ("/usr/sbin/ip6tables-legacy", "/proc/net/ip6_tables_names"),
}
_DROP_POLICY = 0


class Chain(msgspec.Struct, frozen=True):
    """Where exceptions go. Families 0 and -6 stand for the old iptables, which netlink's nf_tables doesn't show."""

    family: int
    table: str
    name: str


_FAMILIES = (nft.FAMILY_IPV4, nft.FAMILY_INET)


def blocking_chains(chains: Sequence[ChainInfo], families: Collection[int] = _FAMILIES) -> list[Chain]:
    """Of all nf_tables chains those that need an exception; Docker's own place for such rules where it exists."""
    names = {(chain.family, chain.table, chain.name) for chain in chains}
    found: list[Chain] = []
    for chain in chains:
        if chain.family not in families or chain.hook != nft.HOOK_FORWARD:
            continue
        if chain.table.startswith(_OWN_TABLES):
            continue
        # firewalld's chain accepts by policy and ends in a rule that rejects.
        if chain.policy != _DROP_POLICY and (chain.table, chain.name) != _FIREWALLD:
            continue
        name = _DOCKER_USER if (chain.family, chain.table, _DOCKER_USER) in names else chain.name
        found.append(Chain(chain.family, chain.table, name))
    return found


class ForeignFirewalls:
    """Keeps the exceptions. ``owner`` is our table's name, which every comment begins with."""

    def __init__(self, socket: Nft, database: Database, owner: str) -> None:
        self._nft = socket
        self._database = database
        self._owner = owner

    def allow(self, bridges: Sequence[str], bridges6: Sequence[str] = ()) -> list[Chain]:
        """Let ``bridges`` through every chain that would drop their traffic; what is there already stays.

        ``bridges6`` are those of them with IPv6, whose traffic tables of that family alone see, too.

        Returns the chains that can't be changed: a table may belong to its program alone (firewalld's does).
        """
        refused = []
        families = (*_FAMILIES, nft.FAMILY_IPV6) if bridges6 else _FAMILIES
        for chain in blocking_chains(self._nft.chains(), families):
            try:
                self._allow_in(chain, bridges6 if chain.family == nft.FAMILY_IPV6 else bridges)
            except PermissionError:
                refused.append(chain)
        return refused

    def allow_legacy(self, bridges: Sequence[str], bridges6: Sequence[str]) -> None:
        """The same for the old iptables, which tells nobody of changes. Slow where it is in use."""
        for family, names in ((_LEGACY, bridges), (_LEGACY6, bridges6)):
            if names and _legacy_blocks(family):
                self._allow_legacy(family, names)

    def forget_bridge(self, bridge: str) -> None:
        """Remove one bridge's exceptions."""
        self._withdraw_all(f" {bridge}")

    def withdraw(self) -> None:
        """Remove every exception."""
        self._withdraw_all("")
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM firewall_exceptions")

    def _allow_in(self, chain: Chain, bridges: Sequence[str]) -> None:
        have = {rule.comment for rule in self._nft.rules(chain.family, chain.table, chain.name)}
        batch = Batch(chain.family, chain.table)
        for bridge in bridges:
            for direction, load in (("from", nftexpr.load_iifname()), ("to", nftexpr.load_oifname())):
                comment = f"{self._owner}: {direction} {bridge}"
                if comment not in have:
                    # The form that iptables itself writes, so that its tools show and keep the rule.
                    match = load + nftexpr.compare(bridge.encode() + b"\0")
                    verdict = nftexpr.counter() + nftexpr.verdict(nftexpr.ACCEPT)
                    batch.add_rule(chain.name, match, verdict, comment=comment, first=True)
        if batch.requests:
            self._record(chain)
            self._nft.commit(batch)

    def _withdraw_all(self, ending: str) -> None:
        rows = self._database.query("SELECT family, table_name, chain FROM firewall_exceptions")
        for family, table, name in rows:
            chain = Chain(family, table, name)
            if chain.family in _LEGACY_PROGRAMS:
                self._withdraw_legacy(chain, ending)
            else:
                self._withdraw_from(chain, ending)

    def _withdraw_from(self, chain: Chain, ending: str) -> None:
        batch = Batch(chain.family, chain.table)
        for rule in self._nft.rules(chain.family, chain.table, chain.name):
            if rule.comment.startswith(f"{self._owner}: ") and rule.comment.endswith(ending):
                batch.delete_rule(chain.name, rule.handle)
        try:
            self._nft.commit(batch)
        except OSError as exc:
            if exc.errno != errno.ENOENT:  # Its owner removed it meanwhile.
                raise

    def _record(self, chain: Chain) -> None:
        with self._database.transaction() as cursor:
            row = (chain.family, chain.table, chain.name)
            cursor.execute("INSERT OR IGNORE INTO firewall_exceptions VALUES (?, ?, ?)", row)

    # -- the old iptables, by its own program ---------------------------------------------------------------------

    def _allow_legacy(self, family: int, bridges: Sequence[str]) -> None:
        name = _DOCKER_USER if _legacy(family, "-S", _DOCKER_USER) is not None else "FORWARD"
        self._record(Chain(family, "filter", name))
        for bridge in bridges:
            for rule in self._legacy_rules(bridge):
                if _legacy(family, "-C", name, *rule) is None:
                    _legacy(family, "-I", name, *rule)

    def _withdraw_legacy(self, chain: Chain, ending: str) -> None:
        prefix = f"-A {chain.name} "
        for line in (_legacy(chain.family, "-S", chain.name) or "").splitlines():
            if line.startswith(prefix) and f'"{self._owner}: ' in line and f'{ending}" ' in line:
                _legacy(chain.family, "-D", chain.name, *_words(line.removeprefix(prefix)))

    def _legacy_rules(self, bridge: str) -> list[list[str]]:
        comment = f"{self._owner}: {{}} {bridge}"
        ends = (("-i", "from"), ("-o", "to"))
        return [
            [flag, bridge, "-m", "comment", "--comment", comment.format(word), "-j", "ACCEPT"] for flag, word in ends
        ]


def _words(line: str) -> list[str]:
    import shlex

    return shlex.split(line)


def _legacy_blocks(family: int) -> bool:
    try:
        with open(_LEGACY_PROGRAMS[family][1], encoding="ascii") as file:
            if "filter" not in file.read().split():
                return False
    except (FileNotFoundError, PermissionError):
        return False  # only the initial user namespace may look; there are no old tables in a namespace of one's own
    return "-P FORWARD DROP" in (_legacy(family, "-S", "FORWARD") or "")


def _legacy(family: int, *arguments: str) -> str | None:
    """What the old iptables printed; None when it failed or is not installed."""
    try:
        done = subprocess.run(
            [_LEGACY_PROGRAMS[family][0], "-w", "5", *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={"LC_ALL": "C"},
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
