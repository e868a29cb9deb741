"""The engine's command line: words to keys of ``daemon.json``, by the rules of Docker's flag parser (pflag)."""

from collections.abc import Sequence
from typing import Any, Final, NoReturn

from rundlet.daemon import defaults, networks, others, transfers
from rundlet.daemon.errors import ConfigError, FlagError

FLAGS: Final[dict[str, tuple[str, str]]] = {
    "data-root": ("data-root", "str"),
    "exec-root": ("exec-root", "str"),
    "host": ("hosts", "list"),
    "pidfile": ("pidfile", "str"),
    "group": ("group", "str"),
    "metrics-addr": ("metrics-addr", "str"),
    "registry-mirror": ("registry-mirrors", "list"),
    "insecure-registry": ("insecure-registries", "list"),
    "log-level": ("log-level", "str"),
    "log-format": ("log-format", "str"),
    "debug": ("debug", "bool"),
    "experimental": ("experimental", "bool"),
    "default-runtime": ("default-runtime", "str"),
    "add-runtime": ("runtimes", "pair"),
    "cdi-spec-dir": ("cdi-spec-dirs", "list"),
    "feature": ("features", "feature"),
    "log-driver": ("log-driver", "str"),
    "log-opt": ("log-opts", "pair"),
    "config-file": ("config-file", "str"),
    "ready-fd": ("ready-fd", "int"),
    "leave-cgroup": ("leave-cgroup", "bool"),
    "validate": ("validate", "bool"),
    "rootless": ("rootless", "int"),
    "trust-policy": ("trust-policy", "str"),
    "storage-driver": ("storage-driver", "str"),
    "exec-opt": ("exec-opts", "list"),
    "default-userns": ("default-userns", "str"),
    "userns-remap": ("userns-remap", "str"),
    "tls": ("tls", "bool"),
    "tlsverify": ("tlsverify", "bool"),
    "tlscacert": ("tlscacert", "str"),
    "tlscert": ("tlscert", "str"),
    "tlskey": ("tlskey", "str"),
    "label": ("labels", "list"),
    "live-restore": ("live-restore", "bool"),
    "shutdown-timeout": ("shutdown-timeout", "int"),
    **defaults.FLAGS,
    **networks.FLAGS,
    **transfers.FLAGS,
}
"""flag → (key in daemon.json, kind). "list" may be repeated; so may "pair", NAME=VALUE, and "feature", NAME[=BOOL]."""

INTERNAL: Final = frozenset(("ready-fd", "leave-cgroup", "rootless"))
"""What only the programs that start an engine say."""

SHORT: Final = {
    "b": "bridge",
    "s": "storage-driver",
    "H": "host",
    "D": "debug",
    "l": "log-level",
    "p": "pidfile",
    "G": "group",
}
_ASKING = {"help": "help", "h": "help", "version": "version", "v": "version"}
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class InformationRequested(Exception):
    """``--help`` or ``--version`` instead of an engine; ``what`` is the one or the other."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def parse(argv: Sequence[str]) -> dict[str, Any]:
    """Values by key. Raises: FlagError with the words of Docker's flag parser, InformationRequested."""
    values: dict[str, Any] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and word != "--":
            name, equals, text = word[2:].partition("=")
            if name not in FLAGS:
                _unknown(name, f"unknown flag: --{name}")
            kind = FLAGS[name][1]
            if not equals:
                text = "true" if kind == "bool" else _argument(rest, f"--{name}")
            _store(values, name, text)
        elif word.startswith("-") and len(word) > 1:
            _short(values, word, rest)
        else:
            raise FlagError(f'"rundlet engine" accepts no arguments: {word}')
    return values


def _short(values: dict[str, Any], word: str, rest: list[str]) -> None:
    """``-D``, ``-lerror``, ``-l=error``, ``-l error``, ``-Dl error``."""
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        name = SHORT.get(letter)
        if name is None:
            _unknown(letter, f"unknown shorthand flag: '{letter}' in {word}")
        if FLAGS[name][1] == "bool" and not letters.startswith("="):
            _store(values, name, "true")
            continue
        text = letters.removeprefix("=") if letters else _argument(rest, f"'{letter}' in {word}")
        _store(values, name, text)
        return


def _unknown(name: str, complaint: str) -> NoReturn:
    if name in _ASKING:
        raise InformationRequested(_ASKING[name])
    raise FlagError(complaint)


def _argument(rest: list[str], flag: str) -> str:
    if not rest:
        raise FlagError(f"flag needs an argument: {flag}")
    return rest.pop(0)


def _store(values: dict[str, Any], name: str, text: str) -> None:
    key, kind = FLAGS[name]
    if kind == "list":
        values.setdefault(key, []).append(text)
    elif kind == "bool":
        values[key] = _truth(name, text, text)
    elif kind == "feature":
        feature, sign, on = text.partition("=")
        values.setdefault(key, {})[feature] = _truth(name, text, on) if sign else True
        if reason := others.unsupported_feature(values[key]):
            raise FlagError(f"--{name} is not supported by Rundlet: {reason}")
    elif kind == "pair":
        label, sign, path = text.partition("=")
        if not sign or not label or not path:
            raise _invalid(name, text, f"want NAME={'PATH' if key == 'runtimes' else 'VALUE'}")
        values.setdefault(key, {})[label] = path
    elif kind == "pool":
        fields = dict(field.partition("=")[::2] for field in text.split(","))
        values.setdefault(key, []).append(networks.pool(f"--{name}", fields))
    elif kind == "netopt":
        driver, option, value = networks.driver_option(text)
        values.setdefault(key, {}).setdefault(driver, {})[option] = value
    elif kind == "ulimit":
        label, limits = defaults.ulimit(text)
        values.setdefault(key, {})[label] = limits
    elif kind == "int":
        if not (text.isascii() and text.isdigit()):
            raise _invalid(name, text, f'strconv.ParseInt: parsing "{text}": invalid syntax')
        values[key] = int(text)
    else:
        values[key] = text


def _truth(name: str, text: str, word: str) -> bool:
    if word not in _TRUE | _FALSE:
        raise _invalid(name, text, f'strconv.ParseBool: parsing "{word}": invalid syntax')
    return word in _TRUE


def _invalid(name: str, text: str, why: str) -> ConfigError:
    letter = next((f"-{short}, " for short, long in SHORT.items() if long == name), "")
    return FlagError(f'invalid argument "{text}" for "{letter}--{name}" flag: {why}')
