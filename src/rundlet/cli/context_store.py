"""Docker's contexts on disk: names for engines, kept beside ``config.json`` and shared with other Docker clients.

A context is ``contexts/meta/<sha256 of its name>/meta.json`` and, with TLS, ``contexts/tls/<the same>/docker/*.pem``.
The one named ``default`` is none of them: it is what the environment and the flags say.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re

from rundlet.cli.exit import CommandError
from rundlet.cli.flags import convert
from rundlet.client.errors import ClientError
from rundlet.client.wire import DecodeError, dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

DEFAULT = "default"
DESCRIPTION = "Current DOCKER_HOST based configuration"
"""Of the default context, and of what was made as a copy of it without one of its own."""
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$")
_TLS_KEYS = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


class Entry:
    """One context: its document as Docker writes it, and its certificates by file name."""

    __slots__ = ("document", "tls")

    def __init__(self, document: dict[str, Any], tls: Mapping[str, bytes] | None = None) -> None:
        self.document = document
        self.tls = dict(tls or {})

    @property
    def name(self) -> str:
        return str(self.document.get("Name", ""))

    @property
    def description(self) -> str:
        return str((self.document.get("Metadata") or {}).get("Description", ""))

    @property
    def docker(self) -> dict[str, Any]:
        return dict((self.document.get("Endpoints") or {}).get("docker") or {})

    @property
    def host(self) -> str:
        return str(self.docker.get("Host") or "")


def check_name(name: str) -> None:
    """Raises CommandError."""
    if not name:
        raise CommandError("context name cannot be empty")
    if name == DEFAULT:
        raise CommandError('"default" is a reserved context name')
    if not _NAME.fullmatch(name):
        raise CommandError(f'context name "{name}" is invalid, names are validated against regexp "{_NAME.pattern}"')


def made(name: str, host: str, *, description: str = "", skip_verify: bool = False) -> dict[str, Any]:
    """A context's document."""
    metadata = {"Description": description} if description else {}
    docker = {"Host": host, "SkipTLSVerify": skip_verify}
    return {"Name": name, "Metadata": metadata, "Endpoints": {"docker": docker}}


def default(host: str) -> Entry:
    """The context "default", whose engine listens at ``host``."""
    return Entry(made(DEFAULT, host))


def endpoint_options(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """``--docker host=…,ca=…,cert=…,key=…,skip-tls-verify=…``, or ``from=…`` alone. Raises CommandError."""
    found: dict[str, str] = {}
    for key, value in pairs:
        if key not in ("host", "from", "skip-tls-verify", *_TLS_KEYS):
            raise CommandError(f"unable to create docker endpoint config: unrecognized config key: {key}")
        found[key] = value
    if "from" in found and len(found) > 1:
        raise CommandError("conflicting options")
    return found


def skips_verification(options: Mapping[str, str]) -> bool:
    """``skip-tls-verify=…``. Raises CommandError."""
    try:
        return bool(convert("bool", options.get("skip-tls-verify", "false")))
    except ValueError as exc:
        reason = str(exc).removeprefix("strconv.ParseBool: ")
        raise CommandError(f"unable to create docker endpoint config: skip-tls-verify: {reason}") from exc


def certificates(options: Mapping[str, str]) -> dict[str, bytes]:
    """The files that ``--docker`` names. Raises CommandError."""
    found = {}
    for key, name in _TLS_KEYS.items():
        if options.get(key):
            try:
                with open(options[key], "rb") as file:
                    found[name] = file.read()
            except OSError as exc:
                reason = (exc.strerror or "").lower()
                raise CommandError(f"unable to create docker endpoint config: open {options[key]}: {reason}") from exc
    return found


class ContextStore:
    """``directory`` is the configuration directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def meta_directory(self, name: str) -> str:
        return f"{self._directory}/contexts/meta/{_digest(name)}"

    def tls_directory(self, name: str) -> str:
        return f"{self._directory}/contexts/tls/{_digest(name)}"

    def exists(self, name: str) -> bool:
        return os.path.exists(f"{self.meta_directory(name)}/meta.json")

    def get(self, name: str) -> Entry:
        """Raises CommandError."""
        path = f"{self.meta_directory(name)}/meta.json"
        try:
            with open(path, "rb") as file:
                document = loads(file.read())
        except OSError as exc:
            reason = (exc.strerror or "").lower()
            raise CommandError(f'context "{name}": context not found: open {path}: {reason}') from exc
        except DecodeError as exc:
            raise CommandError(f'context "{name}": {path}: {exc}') from exc
        return Entry(document, self._tls(name))

    def names(self) -> list[str]:
        """Of every context that can be read."""
        found = []
        try:
            entries = os.listdir(f"{self._directory}/contexts/meta")
        except OSError:
            return []
        for entry in entries:
            path = f"{self._directory}/contexts/meta/{entry}/meta.json"
            with contextlib.suppress(OSError, DecodeError, AttributeError), open(path, "rb") as file:
                found.append(str(loads(file.read()).get("Name", "")))
        return sorted(name for name in found if name)

    def put(self, entry: Entry) -> None:
        """Add or replace. Raises CommandError."""
        path = f"{self.meta_directory(entry.name)}/meta.json"
        try:
            _write(path, dumps(entry.document).encode(), 0o644)
            for name in TLS_FILES:
                path = f"{self.tls_directory(entry.name)}/docker/{name}"
                if name in entry.tls:
                    _write(path, entry.tls[name], 0o600)
                else:
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        os.unlink(path)
        except OSError as exc:
            raise CommandError(
                f'context "{entry.name}": {exc.filename or path}: {(exc.strerror or "").lower()}'
            ) from exc

    def remove(self, name: str) -> None:
        """What is there of it. Raises CommandError."""
        import shutil

        for directory in (self.meta_directory(name), self.tls_directory(name)):
            try:
                shutil.rmtree(directory)
            except FileNotFoundError:
                continue
            except OSError as exc:
                raise CommandError(f'context "{name}": {exc.filename}: {(exc.strerror or "").lower()}') from exc

    def _tls(self, name: str) -> dict[str, bytes]:
        found = {}
        for file_name in TLS_FILES:
            with contextlib.suppress(OSError), open(f"{self.tls_directory(name)}/docker/{file_name}", "rb") as file:
                found[file_name] = file.read()
        return found


def check_host(host: str) -> None:
    """Raises CommandError when it is none that we can reach, or says no way to it (a name alone)."""
    from rundlet.client.endpoint import Endpoint

    try:
        Endpoint(host)
    except ClientError as exc:
        raise CommandError(f"unable to create docker endpoint config: {exc}") from exc
    if host and not host.partition("://")[2]:
        reason = f"unable to apply docker endpoint options: unable to parse docker host `{host}`"
        raise CommandError(f"unable to create docker endpoint config: {reason}")


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _write(path: str, data: bytes, mode: int) -> None:
    from rundlet.util.fs import write_atomic

    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    write_atomic(path, data, mode=mode)


def set_current(directory: str, name: str) -> None:
    """Choose the context of later commands; "default" chooses none. Every other key stays. Raises CommandError."""
    import json

    from rundlet.cli.config import read_config

    config = read_config(directory)
    config.pop("currentContext", None)
    if name != DEFAULT:
        config["currentContext"] = name
    path = os.path.realpath(f"{directory}/config.json")
    try:
        _write(path, json.dumps(config, indent="\t").encode(), 0o600)
    except OSError as exc:
        raise CommandError(f"{exc.filename or path}: {(exc.strerror or '').lower()}") from exc
