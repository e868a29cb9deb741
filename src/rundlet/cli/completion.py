"""What a shell may put in the place of the word under the cursor.

``rundlet __complete WORD…`` takes the words after the program's name, the unfinished one last, and prints a candidate a
line (``name<TAB>description``), then ``:N``, a sum: 4 when the shell must not add file names, 2 when it must not add a
blank. That is the protocol of Docker's own completion scripts, so these work with a ``docker`` that is Rundlet, too.
"""

from __future__ import annotations

import os

from rundlet.cli import catalog
from rundlet.cli.flags import ALIASES, Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from rundlet.client.session import Session

FILES = 0
NO_SPACE = 2
NO_FILES = 4
_NO_VALUE = frozenset(("bool", "count"))
_FIXED = {
    "attach": ("stderr", "stdin", "stdout"),
    "cgroupns": ("host", "private"),
    "format": ("json", "table"),
    "gpus": ("all", "device="),
    "ipc": ("container:", "host", "none", "private", "shareable"),
    "log-driver": ("journald", "json-file", "local", "none", "syslog"),
    "log-level": ("debug", "error", "fatal", "info", "warn"),
    "mount": ("type=bind,", "type=image,", "type=tmpfs,", "type=volume,"),
    "pid": ("container:", "host"),
    "platform": ("linux/386", "linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64",
                 "linux/ppc64le", "linux/riscv64", "linux/s390x"),
    "progress": ("auto", "plain", "quiet", "rawjson", "tty"),
    "pull": ("always", "missing", "never"),
    "restart": ("always", "no", "on-failure", "unless-stopped"),
    "security-opt": ("apparmor=", "label=", "no-new-privileges", "seccomp=", "systempaths=unconfined"),
    "storage-driver": ("overlay2", "vfs"),
    "ulimit": ("core=", "cpu=", "data=", "fsize=", "memlock=", "nofile=", "nproc=", "stack="),
    "userns": ("auto", "host"),
    "uts": ("host",),
}  # fmt: skip
_FIXED_OF = {
    ("network.create", "driver"): ("bridge", "ipvlan", "macvlan"),
    ("volume.create", "driver"): ("local",),
    ("inspect", "type"): ("container", "image", "network", "volume"),
    ("engine.run", "default-userns"): ("auto", "host"),
}
_FILTERS = {
    "container.ls": "ancestor before exited expose health id is-task label name network publish since status volume",
    "image.ls": "before dangling label reference since until",
    "network.ls": "dangling driver id label name scope type",
    "volume.ls": "dangling driver label name",
    "system.events": "container event image label network type volume",
    "search": "is-official stars",
    **dict.fromkeys(
        ("container.prune", "image.prune", "network.prune", "system.prune", "builder.prune"), "label until"
    ),
    "volume.prune": "all label",
}
_BY_FLAG = {
    "network": "NETWORK",
    "net": "NETWORK",
    "volumes-from": "CONTAINER",
    "link": "CONTAINER",
    "volume": "VOLUME",
    "cache-from": "IMAGE",
    "context": "CONTEXT",
    "from": "CONTEXT",
    "env": "ENVIRONMENT",
    "build-arg": "ENVIRONMENT",
    "runtime": "RUNTIME",
    "signal": "SIGNAL",
    "stop-signal": "SIGNAL",
    "cap-add": "CAPABILITY",
    "cap-drop": "CAPABILITY",
}
_RUNNING = frozenset(("running", "paused"))
_STATES = {
    "attach": frozenset(("running",)),
    "exec": frozenset(("running",)),
    "kill": _RUNNING,
    "pause": frozenset(("running",)),
    "start": frozenset(("created", "exited")),
    "stats": _RUNNING,
    "stop": _RUNNING,
    "top": _RUNNING,
    "unpause": frozenset(("paused",)),
    "wait": _RUNNING,
}
"""Containers of which other states a command has no use for."""
_FILE_FLAGS = frozenset(
    "build-context cidfile config config-file data-root device env-file exec-root file iidfile input label-file "
    "metadata-file output pidfile root rootfs secret tlscacert tlscert tlskey trust-policy volume".split()
)


class Completer:
    """One question. ``session`` gives a connection to an engine that runs; it is asked only when that is needed.

    ``contexts`` gives the names in the user's store.
    """

    def __init__(
        self,
        global_flags: Sequence[tuple[Any, ...]],
        session: Callable[[], Session],
        contexts: Callable[[], Sequence[str]],
    ) -> None:
        self._global_flags = global_flags
        self._session = session
        self._contexts = contexts
        self._command_name = ""

    def complete(self, words: Sequence[str]) -> tuple[list[tuple[str, str]], int]:
        """(candidates that begin as the last word does, the directive)."""
        *before, current = words or ("",)
        found, directive = self._complete(list(before), current)
        found = [item for item in found if item[0].startswith(current)]
        if any(name.endswith((":", "=", ",", "/")) for name, _ in found):
            directive |= NO_SPACE
        return found, directive

    def _complete(self, before: list[str], current: str) -> tuple[list[tuple[str, str]], int]:
        rest, pending = _skip_flags(before, self._global_flags, interspersed=False)
        if pending:
            return self._values(pending, current)
        if not rest:
            if current.startswith("-"):
                return _flag_names(self._global_flags), NO_FILES
            return _top_level(), NO_FILES
        path = [rest.pop(0)]
        while " ".join(path) in catalog.NOUNS:
            if not rest:
                return _verbs(" ".join(path)), NO_FILES
            path.append(rest.pop(0))
        name = catalog.resolve(tuple(path))
        if not name:
            return [], NO_FILES
        self._command_name = name
        module = __import__(f"rundlet.cli.commands.{name}", fromlist=("run",))
        return self._command(module, rest, current)

    def _command(self, module: Any, words: list[str], current: str) -> tuple[list[tuple[str, str]], int]:
        interspersed = getattr(module, "INTERSPERSED", True)
        arguments, pending = _skip_flags(words, module.FLAGS, interspersed=interspersed)
        if pending:
            return self._values(pending, current)
        if current.startswith("--") and "=" in current:
            flag, _, value = current[2:].partition("=")
            found, files = self._values(flag, value)
            return [(f"--{flag}={item}", text) for item, text in found], files
        if current.startswith("-") and (interspersed or not arguments):
            return _flag_names(module.FLAGS), NO_FILES
        return self._argument(module, len(arguments))

    def _argument(self, module: Any, position: int) -> tuple[list[tuple[str, str]], int]:
        """By the words of the usage line: CONTAINER, IMAGE, NETWORK, VOLUME, CONTEXT, or a path."""
        _, most = module.ARGS
        if most >= 0 and position >= most:
            return [], NO_FILES
        shown = [word.strip("[].") for word in module.USAGE.replace("[OPTIONS]", "").replace("|", " ").split()]
        if not shown:
            return [], FILES if most else NO_FILES
        repeated = module.USAGE.endswith("...]")
        word = shown[min(position, len(shown) - 1)]
        if position >= len(shown) and not repeated:
            return [], FILES
        if module.USAGE.startswith("[OPTIONS] CONTAINER:"):
            return [(f"{name}:", text) for name, text in self._names("CONTAINER")], FILES
        for kind in ("CONTAINER", "IMAGE", "NETWORK", "VOLUME", "CONTEXT"):
            if word.startswith((kind, f"SOURCE_{kind}")):
                return self._names(kind), NO_FILES
        if self._command_name == "inspect":
            return [
                found for kind in ("CONTAINER", "IMAGE", "NETWORK", "VOLUME") for found in self._names(kind)
            ], NO_FILES
        if word.startswith("NAME") and self._command_name == "image.push":
            return self._names("IMAGE"), NO_FILES
        return [], FILES

    def _values(self, flag: str, _current: str) -> tuple[list[tuple[str, str]], int]:
        if flag == "filter":
            return [(f"{key}=", "") for key in _FILTERS.get(self._command_name, "").split()], NO_FILES
        fixed = _FIXED_OF.get((self._command_name, flag)) or _FIXED.get(flag, ())
        if fixed:
            return [(value, "") for value in fixed], NO_FILES
        files = FILES if flag in _FILE_FLAGS else NO_FILES
        return (self._names(_BY_FLAG[flag]) if flag in _BY_FLAG else []), files

    def _names(self, kind: str) -> list[tuple[str, str]]:
        if kind == "SIGNAL":
            return [(name, "") for name in "HUP INT KILL QUIT STOP TERM USR1 USR2 CONT WINCH".split()]
        if kind == "CAPABILITY":
            return [("ALL", ""), *((name, "") for name in _CAPABILITIES.split())]
        if kind == "CONTEXT":
            return [(name, "") for name in ("default", *self._contexts())]
        if kind == "ENVIRONMENT":
            return [(name, "") for name in sorted(os.environ)]
        session = self._session()
        if kind == "CONTAINER":
            return self._containers(session)
        if kind == "RUNTIME":
            return [(name, "") for name in sorted(session.get("/info")["Runtimes"])]
        if kind == "IMAGE":
            tags = {tag for one in session.get("/images/json") for tag in one["RepoTags"] or () if "<none>" not in tag}
            return sorted([(tag, "") for tag in tags] + [(tag[:-7], "") for tag in tags if tag.endswith(":latest")])
        if kind == "NETWORK":
            return [(one["Name"], one["Driver"]) for one in session.get("/networks")]
        return [(one["Name"], one["Driver"]) for one in session.get("/volumes")["Volumes"] or ()]

    def _containers(self, session: Session) -> list[tuple[str, str]]:
        states = _STATES.get(self._command_name.rpartition(".")[2])
        return [
            (name.lstrip("/"), one["Image"])
            for one in session.get("/containers/json", {"all": True})
            for name in one["Names"]
            if name.count("/") == 1 and (states is None or one["State"] in states)
        ]


_CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH "
    "FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN "
    "NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT "
    "SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG "
    "SYSLOG WAKE_ALARM"
)


def _skip_flags(words: list[str], table: Sequence[tuple[Any, ...]], *, interspersed: bool) -> tuple[list[str], str]:
    """(the words that are no flags, the flag that waits for its value in the next word)."""
    parser = Parser(table)
    rest: list[str] = []
    pending = ""
    for position, word in enumerate(words):
        if pending:
            pending = ""
        elif word == "--" or len(word) < 2 or not word.startswith("-"):
            if word == "--":
                return rest + words[position + 1 :], ""
            rest.append(word)
            if not interspersed:
                return rest + words[position + 1 :], ""
        elif "=" not in word:
            flag = _flag_of(parser, word)
            if flag is not None and flag[2] not in _NO_VALUE:
                pending = flag[0]
    return rest, pending


def _flag_of(parser: Parser, word: str) -> tuple[Any, ...] | None:
    """A flag that could take the next word; in ``-it`` only the last letter can."""
    if word.startswith("--"):
        return parser.long.get(word[2:]) or parser.long.get(ALIASES.get(word[2:], ""))
    for letter in word[1:-1]:
        flag = parser.short.get(letter)
        if flag is None or flag[2] not in _NO_VALUE:
            return None  # what follows in the same word is its value
    return parser.short.get(word[-1])


def _flag_names(table: Sequence[tuple[Any, ...]]) -> list[tuple[str, str]]:
    found = [(f"--{flag[0]}", flag[3].partition("\n")[0]) for flag in table if flag[3]]
    found += [(f"-{flag[1]}", flag[3].partition("\n")[0]) for flag in table if flag[1] and flag[3]]
    return sorted([*found, ("--help", "Print usage")])


def _top_level() -> list[tuple[str, str]]:
    nouns = [(name, text) for name, (text, _) in catalog.NOUNS.items() if " " not in name]
    short = [(name, catalog.summary(name)) for name in catalog.SHORT_FORMS if name not in catalog.NOUNS]
    return sorted([*nouns, *short, ("help", "Help about a command")])


def _verbs(noun: str) -> list[tuple[str, str]]:
    deeper = [(name.split()[-1], text) for name, (text, _) in catalog.NOUNS.items() if name.rpartition(" ")[0] == noun]
    return sorted([*catalog.NOUNS[noun][1].items(), *deeper])
