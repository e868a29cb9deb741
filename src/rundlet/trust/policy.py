"""Which images may be used at all: one file, enforced by the engine on pull, run and build, for every client.

    {"default": {"type": "accept-unsigned"},
     "rules": {
       "docker.io/library": {"type": "dct"},
       "registry.example/team": {"type": "cosign", "keys": ["/etc/rundlet/keys/team.pub"]},
       "ghcr.io/org": {"type": "cosign", "identity": "…", "issuer": "…", "trust-root": "/etc/rundlet/root.json"},
       "registry.example/ops": {"type": "notation", "trust-store": "/etc/rundlet/ca", "identities": ["…"]},
       "evil.example": {"type": "reject"}}}

A rule's name is a registry, or a registry and the beginning of a path; the longest one that fits counts. What can't be
read or understood is no policy: then nothing is let through.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from rundlet.trust import canonical
from rundlet.trust.errors import TrustError

DEFAULT_PATH: Final = "/etc/rundlet/trust-policy.json"
_FILE_LIMIT: Final = 1 << 20

Read = Callable[[str], bytes]


class PolicyError(TrustError):
    """The policy can't be used."""

    reason = "trust-policy-broken"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"trust policy {path}: {why}")
        self.path = path


class RejectedError(TrustError):
    """The policy does not let this image through."""

    reason = "trust-policy"

    def __init__(self, reference: str, rule: str, why: str) -> None:
        super().__init__(f"{reference} is refused by the trust policy ({rule}): {why}")
        self.reference = reference


class Rule(NamedTuple):
    """``kind`` is the type in the file; ``files`` the contents of the files that the rule names, by path.

    ``fingerprint`` changes with the rule and with those files: what was verified under another is verified again.
    """

    kind: str
    settings: Mapping[str, Any] = {}
    files: Mapping[str, bytes] = {}

    @property
    def fingerprint(self) -> str:
        parts = {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}
        return hashlib.sha256(canonical.encode([self.kind, dict(self.settings), parts])).hexdigest()

    @property
    def accepts_all(self) -> bool:
        return self.kind == "accept-unsigned" or self.settings.get("level") == "skip"

    def files_in(self, directory: str) -> dict[str, bytes]:
        """Those of a trust store."""
        return {path: data for path, data in self.files.items() if path.rpartition("/")[0] == directory}

    def __str__(self) -> str:
        if self.kind == "cosign":
            if "identity" in self.settings:
                return f"cosign: {self.settings['identity']} by {self.settings['issuer']}"
            return f"cosign: {len(self.files)} key{'' if len(self.files) == 1 else 's'}"
        if "level" in self.settings:
            return f"{self.kind}: {self.settings['level']}"
        return self.kind


ACCEPT: Final = Rule("accept-unsigned")


class Policy(NamedTuple):
    """``rules`` by scope: ``registry`` or ``registry/path``."""

    default: Rule = ACCEPT
    rules: Mapping[str, Rule] = {}

    def rule_for(self, repository: str) -> Rule:
        """``repository`` is a whole name: ``docker.io/library/debian``."""
        scope = repository
        while scope:
            if scope in self.rules:
                return self.rules[scope]
            scope = scope.rpartition("/")[0]
        return self.default


def parse(path: str, data: bytes, read: Read) -> Policy:
    """``read`` gives the content of a file that the policy names. Raises PolicyError."""

    def fail(why: str) -> PolicyError:
        return PolicyError(path, why)

    try:
        document = canonical.decode(data, "the file")
    except TrustError as exc:
        raise fail(str(exc)) from exc
    if not isinstance(document, dict) or not set(document) <= {"default", "rules"}:
        raise fail('want {"default": {…}, "rules": {…}}')
    rules = document.get("rules", {})
    if not isinstance(rules, dict):
        raise fail("rules: want a JSON object")
    made = {}
    for scope, rule in rules.items():
        if not _is_scope(scope):
            raise fail(f"rules: {scope!r} is no registry with or without the beginning of a path")
        made[scope] = _rule(f"rules: {scope}", rule, read, fail)
    default = _rule("default", document["default"], read, fail) if "default" in document else ACCEPT
    return Policy(default, made)


def _is_scope(scope: str) -> bool:
    host = scope.partition("/")[0]
    known = "." in host or ":" in host or host == "localhost"
    return known and scope == scope.strip("/ ") and not any(mark in scope for mark in ("//", "@", "*", " "))


_NONE: Final[frozenset[str]] = frozenset()
_STORES: Final = ("trust-store", "signing-authority-store", "tsa-store")
_NOTATION: Final = frozenset(("signing-authority-store", "tsa-store", "identities", "level", "override")) | {
    "verify-timestamp"
}
# What each type must have, and may have besides.
_KEYS: Final[dict[str, tuple[tuple[frozenset[str], frozenset[str]], ...]]] = {
    "reject": ((_NONE, _NONE),),
    "accept-unsigned": ((_NONE, _NONE),),
    "dct": ((_NONE, frozenset(("server", "root-keys"))),),
    "cosign": ((frozenset(("keys",)), _NONE), (frozenset(("identity", "issuer", "trust-root")), _NONE)),
    "notation": (
        (frozenset(("trust-store",)), _NOTATION),
        (frozenset(("signing-authority-store",)), _NOTATION),
        (frozenset(("level",)), _NONE),
    ),
}

# What Notation's levels do with each validation. See: trust-store-trust-policy, "Signature Verification details".
_VALIDATIONS: Final = ("authenticity", "authenticTimestamp", "expiry", "revocation")
_LEVELS: Final[dict[str, tuple[str, ...]]] = {
    "strict": ("enforce", "enforce", "enforce", "enforce"),
    "permissive": ("enforce", "log", "log", "log"),
    "audit": ("log", "log", "log", "log"),
    "skip": ("skip", "skip", "skip", "skip"),
}


def actions_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """What a Notation rule does about a failure of each validation: ``enforce``, ``log`` or ``skip``."""
    level = dict(zip(_VALIDATIONS, _LEVELS[settings.get("level", "strict")], strict=True))
    return {**level, **settings.get("override", {})}


def _rule(where: str, value: Any, read: Read, fail: Callable[[str], PolicyError]) -> Rule:
    kind = value.get("type") if isinstance(value, dict) else None
    shapes = _KEYS.get(kind) if isinstance(kind, str) else None
    if shapes is None:
        raise fail(f"{where}: type: want one of {', '.join(_KEYS)}")
    assert isinstance(kind, str)
    settings = {key: item for key, item in value.items() if key != "type"}
    if not any(must <= settings.keys() <= must | may for must, may in shapes):
        raise fail(f"{where}: {kind} takes {' or '.join(_shape(*shape) for shape in shapes)}")
    for key, item in settings.items():
        if key == "override":
            continue
        listed = key in ("keys", "root-keys", "identities")
        good = isinstance(item, list) and item and all(isinstance(part, str) for part in item)
        if not (good if listed else isinstance(item, str) and item):
            raise fail(f"{where}: {key}: want {'a list of strings' if listed else 'a string'}")
    if not settings.get("server", "https://").startswith("https://"):
        raise fail(f"{where}: server: want an https URL")
    if kind == "notation":
        _check_notation(where, settings, fail)
    paths = [*settings.get("keys", ()), *(settings[key] for key in ("trust-root",) if key in settings)]
    files = {}
    try:
        for key in _STORES:
            if key in settings:
                paths += certificates_in(settings[key])
        for name in paths:
            files[name] = read(name)
    except OSError as exc:
        raise fail(f"{where}: {exc.filename}: {(exc.strerror or str(exc)).lower()}") from exc
    return Rule(kind, settings, files)


def _shape(must: frozenset[str], may: frozenset[str]) -> str:
    return ", ".join([*sorted(must), *(f"[{key}]" for key in sorted(may - must))]) or "nothing"


def _check_notation(where: str, settings: Mapping[str, Any], fail: Callable[[str], PolicyError]) -> None:
    level = settings.get("level", "strict")
    if level not in _LEVELS:
        raise fail(f"{where}: level: want one of {', '.join(_LEVELS)}")
    if level == "skip" and (len(settings) > 1 or where == "default"):
        raise fail(f"{where}: level: skip goes with nothing else, and not with the default")
    if level != "skip" and not any(key in settings for key in _STORES[:2]):
        raise fail(f"{where}: {level} needs a trust-store or a signing-authority-store")
    override = settings.get("override", {})
    if not isinstance(override, dict) or not set(override) <= set(_VALIDATIONS):
        raise fail(f"{where}: override: want an object with some of {', '.join(_VALIDATIONS)}")
    for key, action in override.items():
        known = ("enforce", "log", "skip") if key == "revocation" else ("enforce", "log")
        if action not in known:
            raise fail(f"{where}: override: {key}: want one of {', '.join(known)}")
    if settings.get("verify-timestamp", "always") not in ("always", "afterCertExpiry"):
        raise fail(f"{where}: verify-timestamp: want one of always, afterCertExpiry")
    if "verify-timestamp" in settings and "tsa-store" not in settings:
        raise fail(f"{where}: verify-timestamp needs a tsa-store")
    if "identities" in settings:
        from rundlet.trust import notation  # which loads what takes long

        try:
            notation.check_identities(settings["identities"])
        except TrustError as exc:
            raise fail(f"{where}: identities: {exc}") from exc


def certificates_in(directory: str) -> list[str]:
    """The certificates of a trust store. Raises OSError."""
    names = sorted(os.listdir(directory))
    found = [f"{directory}/{name}" for name in names if name.endswith((".crt", ".pem", ".cer"))]
    if not found:
        raise FileNotFoundError(2, "No certificate (*.crt, *.pem) in this directory", directory)
    return found


def read_file(path: str) -> bytes:
    """Raises OSError."""
    with open(path, "rb") as file:
        return file.read(_FILE_LIMIT)


class PolicyFile:
    """The policy as it is now: read again when the file, or one that it names, changes.

    ``required``: the file was asked for by name, so its absence is no licence.
    """

    def __init__(self, path: str, *, required: bool) -> None:
        self.path = path
        self._required = required
        self._policy = Policy()
        self._seen: tuple[object, ...] | None = None
        self._paths: list[str] = []

    def current(self) -> Policy:
        """Raises PolicyError."""
        seen = self._look()
        if seen != self._seen:
            self._policy = self._load()
            self._paths = [path for rule in self._all() for path in (*rule.files, *self._directories(rule))]
            self._seen = self._look()
        return self._policy

    def in_force(self) -> bool:
        """Whether anything but the absence of a policy decides."""
        return self._required or os.path.lexists(self.path)

    def _all(self) -> list[Rule]:
        return [self._policy.default, *self._policy.rules.values()]

    def _directories(self, rule: Rule) -> list[str]:
        return [rule.settings[key] for key in _STORES if key in rule.settings]

    def _load(self) -> Policy:
        self._seen, self._paths = None, []
        try:
            data = read_file(self.path)
        except FileNotFoundError as exc:
            if self._required:
                raise PolicyError(self.path, "no such file or directory") from exc
            return Policy()
        except OSError as exc:
            raise PolicyError(self.path, (exc.strerror or str(exc)).lower()) from exc
        return parse(self.path, data, read_file)

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for path in (self.path, *self._paths):
            try:
                status = os.stat(path)
                found.append((path, status.st_ino, status.st_size, status.st_mtime_ns))
            except OSError:
                found.append((path, None))
        return tuple(found)
