"""Addresses in settings."""

from rundlet.daemon.errors import ConfigError


def host_and_port(key: str, text: str) -> tuple[str, int]:
    """``127.0.0.1:9323``, ``[::1]:9323``; without a host: every address. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if colon and port.isascii() and port.isdigit() and int(port) < 65536 and (bracketed or ":" not in host):
        return host.strip("[]"), int(port)
    raise ConfigError(f"invalid {key}: {text}: want HOST:PORT, as in 127.0.0.1:9323")
