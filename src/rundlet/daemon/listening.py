"""Where the engine listens: unix sockets, what a service manager hands over, and TCP, which asks for certificates."""

import contextlib
import grp
import os
import socket
import ssl
from collections.abc import Sequence

from rundlet.daemon import activation
from rundlet.daemon.config import Config
from rundlet.daemon.errors import ConfigError, StartError
from rundlet.util.layout import Layout


def tls_context(config: Config) -> ssl.SSLContext | None:
    """For TCP; None: without TLS. Clients need a certificate of the authority unless ``tlsverify`` was turned off.

    Raises ConfigError for certificates that can't be used.
    """
    if not config.uses_tls:
        return None
    directory = os.path.expanduser("~/.docker")
    paths = {name: getattr(config, f"tls{name}") or f"{directory}/{name}.pem" for name in ("cacert", "cert", "key")}
    if not config.tlscacert:
        paths["cacert"] = f"{directory}/ca.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(paths["cert"], paths["key"], password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(f"could not load the TLS key pair {paths['cert']}, {paths['key']}: {error}") from error
    if config.tlsverify is not False:
        try:
            context.load_verify_locations(paths["cacert"])
        except (OSError, ValueError) as error:
            raise ConfigError(f"could not load the TLS authority {paths['cacert']}: {error}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted: an engine has nobody to ask for the password")


def _check_trust(config: Config, address: str) -> None:
    """Who reaches the API is root on this machine. Raises StartError."""
    if config.tlsverify is None and config.tls is not False:
        raise StartError(
            f"{address}: the API over TCP is root on this machine: give --tlsverify with --tlscacert, --tlscert and "
            "--tlskey, or say --tlsverify=false to let in everyone who reaches the address"
        )


def listen(config: Config, layout: Layout, activated: Sequence[socket.socket]) -> list[socket.socket]:
    """Sockets for every configured host, those that were handed over, and the engine's own. Raises StartError."""
    if "fd://" in config.hosts and not activated:
        raise StartError("no sockets found via socket activation: make sure the service was started by systemd")
    for bound in activated:
        if bound.family != socket.AF_UNIX:
            _check_trust(config, activation.address(bound))
    own = f"unix://{layout.engine_socket}"
    addresses = [host for host in config.hosts if host not in ("fd://", own)]
    if not any(is_own(bound, layout) for bound in activated):
        addresses.insert(0, own)
    made: list[socket.socket] = []
    try:
        for address in addresses:
            made.append(_bind(address, config))
    except StartError:
        forget(paths(made))
        raise
    return [*activated, *made]


def forget(paths: Sequence[str]) -> None:
    """Remove unix sockets' names; those that are gone are fine."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def paths(bound: Sequence[socket.socket]) -> list[str]:
    """Where the unix sockets among them are."""
    return [os.fsdecode(one.getsockname()) for one in bound if one.family == socket.AF_UNIX]


def is_own(bound: socket.socket, layout: Layout) -> bool:
    """Whether it is bound to the engine's own path, perhaps by another of its names."""
    if bound.family != socket.AF_UNIX:
        return False
    name = os.fsdecode(bound.getsockname())
    return os.path.realpath(name) == os.path.realpath(layout.engine_socket)


def _bind(address: str, config: Config) -> socket.socket:
    kind, _, rest = address.partition("://")
    if kind == "unix":
        return _bind_unix(rest, config.group)
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        _check_trust(config, address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host.strip("[]"), int(port)))
        except (OSError, ValueError) as error:
            bound.close()
            raise StartError(f"cannot listen on {address}: {error}") from error
        return bound
    raise StartError(f"cannot listen on {address}: of the sockets handed over by systemd all are used: want fd://")


def _bind_unix(path: str, group: str) -> socket.socket:
    """Mode 0660; owned by the group where it exists. A socket that nobody answers is replaced."""
    if len(path.encode()) > 107:
        raise StartError(f"the path of the socket is too long (107 bytes at most): {path}")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
        raise StartError(f"cannot listen on unix://{path}: another program answers there")
    except (FileNotFoundError, ConnectionRefusedError):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise StartError(f"cannot listen on unix://{path}: {error}") from error
    finally:
        probe.close()
    try:
        os.makedirs(os.path.dirname(path), 0o711, exist_ok=True)
        mask = os.umask(0o117)
        try:
            bound.bind(path)
        finally:
            os.umask(mask)
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on unix://{path}: {error}") from error
    try:
        os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except (KeyError, PermissionError):
        pass  # the group is optional: without it the socket is the user's own
    return bound
