"""What a command works with: the engine's session, the user's configuration, the program's name."""

from __future__ import annotations

import os
import sys

from rundlet.cli import paths
from rundlet.cli.exit import CommandError
from rundlet.client.endpoint import Endpoint, TlsSettings
from rundlet.client.errors import ClientError
from rundlet.client.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Context:
    """Made for each command; everything in it is found out when it is first asked for."""

    def __init__(self, program: str, settings: dict[str, Any]) -> None:
        self.program = program
        self.settings = settings
        self.may_start = True
        self._session: Session | None = None
        self._config: dict[str, Any] | None = None

    @property
    def config_directory(self) -> str:
        return paths.config_directory(self.settings["config"])

    @property
    def config(self) -> dict[str, Any]:
        """config.json; empty where there is none, or none that can be understood."""
        if self._config is None:
            directory = self.config_directory
            self._config = {}
            if os.path.exists(f"{directory}/config.json"):
                from rundlet.cli.config import ConfigError, read_config

                try:
                    self._config = read_config(directory)
                except ConfigError as exc:
                    self.warn(f"WARNING: {exc.message}")
        return self._config

    @property
    def session(self) -> Session:
        """The engine that the flags and the environment choose. Raises CommandError."""
        if self._session is None:
            endpoint = self.endpoint()
            start = None
            if endpoint is None:
                endpoint = Endpoint(self._own_host())
                start = self._start_engine if self.may_start else None
            self._session = Session(
                endpoint,
                version=os.environ.get("DOCKER_API_VERSION", "").removeprefix("v"),
                headers=self._headers(),
                start=start,
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        if "HttpHeaders" not in self.config and not os.environ.get("DOCKER_CUSTOM_HEADERS"):
            return {}
        from rundlet.cli.variables import headers

        return headers(self.config)

    def close(self) -> None:
        """Give back what the command left open."""
        if self._session is not None:
            self._session.close()

    def endpoint(self) -> Endpoint | None:
        """An explicitly chosen engine; None for the user's own, which may be started. Raises CommandError."""
        hosts = self.settings["host"]
        name = "" if hosts else self.context_name()
        if hosts and self.settings["context"]:
            raise CommandError("conflicting options: cannot specify both --host and --context")
        host = hosts[0] if hosts else ""
        if not host and name == "default":
            host = os.environ.get("RUNDLET_HOST") or os.environ.get("DOCKER_HOST") or ""
        # Files that are named or asked for must be there, whatever becomes of them.
        tls = self._tls() if hosts or name == "default" else None
        if host == self._own_host():
            return None  # what `engine env` says must not keep the command line from starting it
        try:
            if host:
                return Endpoint(host, tls if not host.startswith(("unix:", "ssh:")) else None)
            if not hosts and name != "default":
                from rundlet.cli.config import context_endpoint

                return context_endpoint(self.config_directory, name)
        except ClientError as exc:
            raise CommandError(f"Failed to initialize: {exc}") from exc
        return None

    def context_name(self) -> str:
        """The context in use: "default" where the environment names an engine, or nothing does."""
        if self.settings["context"]:
            return str(self.settings["context"])
        environment = os.environ
        if self.settings["host"] or environment.get("RUNDLET_HOST") or environment.get("DOCKER_HOST"):
            return "default"
        return environment.get("DOCKER_CONTEXT") or self.config.get("currentContext") or "default"

    def default_host(self) -> str:
        """Where the engine of the context "default" listens."""
        hosts = self.settings["host"]
        chosen = hosts[0] if hosts else os.environ.get("RUNDLET_HOST") or os.environ.get("DOCKER_HOST")
        return chosen or self._own_host()

    def _own_host(self) -> str:
        return f"unix://{paths.engine_socket()}"

    def _tls(self) -> TlsSettings | None:
        settings, environment = self.settings, os.environ
        # As Docker has it, --tlsverify=false asks for TLS as well.
        asked = "tlsverify" in getattr(settings, "given", ())
        verify = bool(settings["tlsverify"] or environment.get("DOCKER_TLS_VERIFY"))
        if not (verify or asked or settings["tls"] or environment.get("DOCKER_TLS")):
            return None
        directory = environment.get("DOCKER_CERT_PATH") or self.config_directory
        ca = settings["tlscacert"] or f"{directory}/ca.pem"
        if not os.path.exists(ca):
            reason = f"open {ca}: no such file or directory"
            raise CommandError(f"Failed to initialize: unable to resolve docker endpoint: {reason}")
        return TlsSettings(
            ca if verify else settings["tlscacert"],
            settings["tlscert"] or f"{directory}/cert.pem",
            settings["tlskey"] or f"{directory}/key.pem",
            verify=verify,
        )

    def _start_engine(self) -> None:
        from rundlet.cli.engine_start import start_engine

        start_engine()

    def say(self, text: str) -> None:
        """One line on standard output."""
        sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """One line on standard error, after what standard output has so far."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
