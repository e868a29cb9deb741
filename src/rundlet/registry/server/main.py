"""The registry's process: settings, lock, sockets, and a clean end."""

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aiohttp import web

from rundlet.errors import InternalError, InvalidParameterError, RundletError
from rundlet.registry.server.app import Registry
from rundlet.registry.server.auth import Htpasswd
from rundlet.registry.server.blobs import BlobFiles
from rundlet.registry.server.index import SCHEMA, Index
from rundlet.registry.server.mirror import Mirror
from rundlet.registry.server.store import Store
from rundlet.registry.server.trust import Trust
from rundlet.trust import server as trust_server
from rundlet.trust.server import TrustServer
from rundlet.util.clock import SystemClock
from rundlet.util.database import Database

DEFAULT_ADDRESS: Final = "127.0.0.1:5000"
READ_BUFFER: Final = 1 << 20
GRACE: Final = 5.0
_LOOPBACK: Final = ("127.", "[::1]", "localhost")


class InUseError(InternalError):
    """Two registries can't share a directory."""

    reason = "registry-in-use"

    def __init__(self, root: str) -> None:
        super().__init__(f"another registry serves {root}")


class AddressError(InvalidParameterError):
    reason = "bad-address"

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"cannot listen on {address}: {why}")


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="rundlet registry: %(message)s")
    try:
        asyncio.run(_serve(options))
    except (RundletError, OSError) as error:
        print(f"rundlet registry: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rundlet registry serve", allow_abbrev=False)
    parser.add_argument("--addr", default=DEFAULT_ADDRESS, metavar="HOST:PORT")
    parser.add_argument("--root", default="", metavar="DIRECTORY")
    parser.add_argument("--tls-cert", default="", metavar="FILE")
    parser.add_argument("--tls-key", default="", metavar="FILE")
    parser.add_argument("--htpasswd", default="", metavar="FILE")
    parser.add_argument("--mirror-of", default="", metavar="URL")
    parser.add_argument("--ready-fd", type=int, default=-1, help=argparse.SUPPRESS)
    return parser


def default_root() -> str:
    """``/var/lib/rundlet-registry`` for root, else beneath the user's data directory."""
    if os.geteuid() == 0:
        return "/var/lib/rundlet-registry"
    return (os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) + "/rundlet-registry"


async def _serve(options: argparse.Namespace) -> None:
    if options.ready_fd >= 0:
        os.set_inheritable(options.ready_fd, False)
    tls = _tls(options.tls_cert, options.tls_key)
    users = Htpasswd(options.htpasswd) if options.htpasswd else None
    host, port = _split(options.addr)
    root = os.path.abspath(options.root or default_root())
    lock = _lock(root)
    clock = SystemClock()
    database = Database.open(f"{root}/registry.db", [SCHEMA, trust_server.SCHEMA])
    index = Index(database)
    store = Store(index, BlobFiles(root), clock)
    await asyncio.to_thread(store.clean)
    await store.uploads.expire()
    with suppress(OSError):
        await asyncio.to_thread(index.keep_reserve)
    mirror = Mirror(store, options.mirror_of) if options.mirror_of else None
    trust = Trust(TrustServer(database, clock)) if mirror is None else None
    application = web.Application()
    registry = Registry(store, users=users, upstream=mirror, trust=trust)
    application.router.add_route("*", "/{path:.*}", registry.handle)
    runner = web.AppRunner(application, access_log=None, read_bufsize=READ_BUFFER, shutdown_timeout=GRACE)
    await runner.setup()
    sweeping = asyncio.create_task(store.sweep_forever())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await _listen(runner, host, port, tls, options.addr)
        _announce(runner, root, options, secure=tls is not None)
        await stop.wait()
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await runner.cleanup()
        if mirror is not None:
            await mirror.close()
        index.close()
        os.close(lock)


async def _listen(runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None, address: str) -> None:
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls, backlog=512).start()
    except OSError as exc:
        raise AddressError(address, exc.strerror or str(exc)) from exc


def _announce(runner: web.AppRunner, root: str, options: argparse.Namespace, *, secure: bool) -> None:
    host, port = runner.addresses[0][:2]
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not name.startswith(_LOOPBACK):
        if not options.htpasswd:
            print(f"rundlet registry: warning: everyone who reaches {name} may push and delete", file=sys.stderr)
        elif not secure:
            print("rundlet registry: warning: passwords are sent without TLS", file=sys.stderr)
    what = f"mirror of {options.mirror_of}" if options.mirror_of else "registry"
    print(f"{what} at http{'s' if secure else ''}://{name}, content in {root}", flush=True)
    if options.ready_fd >= 0:
        os.write(options.ready_fd, f"ok {name}\n".encode())
        os.close(options.ready_fd)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise AddressError(address, "it is not HOST:PORT")
    return host.strip("[]") or "0.0.0.0", int(port)


def _tls(certificate: str, key: str) -> ssl.SSLContext | None:
    """Raises InvalidParameterError."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise InvalidParameterError("--tls-cert and --tls-key belong together")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        raise InvalidParameterError(f"{certificate}, {key}: {exc}") from exc
    return context


def _lock(root: str) -> int:
    """Raises InUseError, OSError."""
    os.makedirs(root, mode=0o700, exist_ok=True)
    fd = os.open(f"{root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        os.close(fd)
        raise InUseError(root) from exc
    return fd
