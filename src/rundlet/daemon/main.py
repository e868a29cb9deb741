"""The engine's process: settings, lock, launcher, parts, recovery, sockets, and a clean end."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rundlet.container.state import is_running
from rundlet.daemon import activation, addresses, housekeeping, listening, placement, service, transfers, wiring
from rundlet.daemon.config import Config, load
from rundlet.daemon.errors import StartError
from rundlet.daemon.lock import acquire, check_owner
from rundlet.daemon.notify import Notifier
from rundlet.daemon.reload import Reloader
from rundlet.daemon.rootless.link import KeeperLink
from rundlet.daemon.wiring import Engine
from rundlet.engine.containers import shutdown
from rundlet.engine.metrics import CONTENT_TYPE
from rundlet.errors import RundletError
from rundlet.linux import cgroup
from rundlet.runtime.launch import Launcher
from rundlet.server.app import APIServer
from rundlet.server.metering import MetricsServer
from rundlet.util.layout import Layout

_log = logging.getLogger(__name__)
BACKLOG = 512
PARENT_TRIES, PARENT_SECONDS = 20, 0.05


@dataclass(frozen=True, slots=True)
class Starter:
    """Whoever started this engine: a descriptor that waits for one line (or -1), a service manager or none.

    ``supervised`` says that it starts the engine again by itself; ``activated`` are the sockets that it has bound.
    """

    ready_fd: int
    notifier: Notifier
    supervised: bool
    activated: Sequence[socket.socket]
    load: Callable[[], Config]
    """Reads the settings, now or again."""


def main(argv: Sequence[str]) -> int:
    """Run the engine until it is told to stop; returns the exit status."""
    ready_fd = -1
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    supervised = placement.is_service(os.environ, os.getpid())
    notifier = Notifier.take(os.environ)
    try:
        activated = activation.take(os.environ, os.getpid())
        read = partial(load, argv, dict(os.environ), os.geteuid())
        config = read()
        ready_fd = config.ready_fd
        if ready_fd >= 0:
            os.set_inheritable(ready_fd, False)
        if config.validate:
            wiring.check(config)
            print("configuration OK")
            return 0
        service.set_up_logging(config.effective_log_level, config.log_format)
        transfers.set_proxies(config.moving, os.environ)
        _check_rights()
        check_owner(config.data_root)
        service.allow_descriptors()
        if config.leave_cgroup:
            placement.leave()
        asyncio.run(_run(config, Starter(ready_fd, notifier, supervised, activated, read)))
    except (RundletError, OSError) as error:
        return service.give_up(error, ready_fd, looking="--validate" in argv)
    return 0


def _check_rights() -> None:
    if os.geteuid() != 0:
        raise StartError(
            "the engine lacks the right to make mounts and namespaces: start it as rundlet.daemon, which makes an "
            "ordinary user's own"
        )


async def _run(config: Config, starter: Starter) -> None:
    os.umask(0o022)
    layout = Layout(os.path.realpath(config.data_root), os.path.realpath(config.exec_root))
    wiring.make_directories(layout)
    lock = acquire(layout.lock, layout.root)
    keeper = KeeperLink(layout.run) if config.rootless >= 0 else None
    if keeper is not None:
        os.environ[cgroup.DELEGATED] = keeper.cgroup  # for this process and all that the launcher starts
    stop = asyncio.Event()  # told to stop while it starts, it starts and then ends: so nothing stays behind
    service.on_stop(asyncio.get_running_loop().add_signal_handler, stop.set)
    launcher = await Launcher.start(layout, () if starter.supervised else _command())
    try:
        await _serve(config, layout, starter, launcher, keeper, stop)
    except BaseException:
        launcher.bye()  # what ended this engine would end the next one, too: it is not started again
        raise
    finally:
        os.close(lock)


async def _serve(
    config: Config,
    layout: Layout,
    starter: Starter,
    launcher: Launcher,
    keeper: KeeperLink | None,
    stop: asyncio.Event,
) -> None:
    """Until a stop signal. ``keeper``: of an ordinary user's engine."""
    engine = wiring.build(config, layout, launcher, keeper)
    tls = listening.tls_context(config)
    sockets = listening.listen(config, layout, starter.activated)
    names = [activation.address(one) for one in sockets]
    paths = listening.paths([one for one in sockets if one not in starter.activated])
    try:
        await _make_ready(config, engine)
        server = APIServer(engine.backends, engine.metrics.observe if config.metrics_addr else None)
        for one in sockets:
            await server.listen(one, tls if one.family != socket.AF_UNIX else None)
        reloader = Reloader(config, starter.load, engine.changes.apply, engine.context.events, wiring.engine_id(layout))
        asyncio.get_running_loop().set_exception_handler(service.on_failure)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.reload)
        if keeper is not None:
            asyncio.get_running_loop().add_reader(keeper, _keeper_gone, keeper, stop)
        service.write_pidfile(config.pidfile or f"{layout.run}/rundlet.pid")
        _begin_work(config, engine)
        service.tell(starter.ready_fd, "ok")
        starter.notifier.ready()
        _log.info("engine %s listens on %s", layout.instance, ", ".join(names))
        try:
            await stop.wait()
        finally:
            starter.notifier.stopping()
            listening.forget(paths)
            await asyncio.shield(_close(reloader.config, layout, engine, server, launcher))
    finally:
        listening.forget(paths)


async def _make_ready(config: Config, engine: Engine) -> None:
    """Everything as requests expect to find it. Raises StartError, and what looking through the store raises."""
    metrics = await _listen_for_metrics(config, engine)
    await _check_storage(engine)
    engine.context.network.start()  # from here on an engine that fails would leave something on the machine
    await engine.recovery.run(list(engine.unfinished))
    if engine.context.network.needs_resolver:
        await engine.resolver.ensure()
    if any(engine.context.network.proxied(record.id)[1] for record in engine.context.containers):
        await engine.proxy.ensure()
    if not config.live_restore:
        # What outlived an engine that was killed ends as it would have ended with that one.
        await shutdown.stop_all(engine.context, engine.lifecycle, config.shutdown_timeout)
        await engine.recovery.restart_policies()  # they ran until the last engine ended: they do when this one answers
    if metrics is not None:
        engine.tasks.spawn(metrics.run(), name="metrics")


def _begin_work(config: Config, engine: Engine) -> None:
    """What goes on beside the requests."""
    _watch_firewall(engine)
    housekeeping.begin(engine)
    if engine.policy is not None:
        engine.tasks.spawn(engine.policy.run(), name="image policy")
    if engine.collector is not None:
        engine.tasks.spawn(engine.collector.run(), name="build cache policy")
    if config.live_restore:
        engine.tasks.spawn(engine.recovery.restart_policies(), name="restart policies")
    gc.collect()
    gc.freeze()


def _keeper_gone(keeper: KeeperLink, stop: asyncio.Event) -> None:
    """Nothing inside can make another: this engine ends, and the next one brings a keeper along."""
    _log.error("the keeper of the namespaces was killed: ending; containers run on, the next command starts an engine")
    asyncio.get_running_loop().remove_reader(keeper)
    stop.set()


async def _listen_for_metrics(config: Config, engine: Engine) -> MetricsServer | None:
    """Raises StartError."""
    if not config.metrics_addr:
        return None
    metrics = MetricsServer(engine.metrics.render, CONTENT_TYPE)
    try:
        await metrics.listen(*addresses.host_and_port("metrics-addr", config.metrics_addr))
    except OSError as error:
        raise StartError(f"cannot listen on {config.metrics_addr}: {error.strerror or error}") from error
    return metrics


async def _check_storage(engine: Engine) -> None:
    """After an unclean boot: blobs that lost bytes go, layers that may have are made again from those that did not."""
    for digest in await asyncio.to_thread(engine.content.check):
        _log.warning("blob %s was damaged when the machine went down: it is fetched again with the next pull", digest)
    dropped = await asyncio.to_thread(engine.context.snapshots.check)
    if not dropped:
        return
    _log.info(
        "%d layers may not have reached the disk before the machine went down: unpacking them again", len(dropped)
    )
    for image, error in (await engine.unpacker.restore(dropped)).items():
        _log.error("image %s can't be restored, pull it again: %s", image, error)


async def _close(config: Config, layout: Layout, engine: Engine, server: APIServer, launcher: Launcher) -> None:
    """Containers run on, and the next engine finds them, unless ``live-restore`` is off."""
    _log.debug("daemon configured with a %d seconds minimum shutdown timeout", config.shutdown_timeout)
    if not config.live_restore:
        await shutdown.stop_all(engine.context, engine.lifecycle, config.shutdown_timeout)
    await engine.buildkit.close()
    await engine.builds.close()
    engine.context.events.close()
    await server.close()
    await engine.tasks.close()
    engine.resolver.close()
    engine.proxy.close()
    for shim in engine.context.live.shims():
        shim.close()
    engine.lifecycle.give_back_leftovers()
    engine.lifecycle.sweep_cgroups()
    try:
        # Who looks at the firewall's changes must not use the same sockets meanwhile, nor repair what is taken down.
        asyncio.get_running_loop().remove_reader(engine.context.network.watch())
        await asyncio.to_thread(engine.context.network.shutdown)
    except RundletError as exc:
        _log.warning("something of the networks stays on the machine: %s", exc)
    await _remove_parent_cgroup(engine, layout)
    launcher.bye()
    await engine.http.close()
    await engine.garbage.close()
    engine.database.close()
    service.remove_pidfile(config.pidfile or f"{layout.run}/rundlet.pid")


async def _remove_parent_cgroup(engine: Engine, layout: Layout) -> None:
    """The group that holds our containers' groups, when the last of them is gone; a shim may just be removing that."""
    parent = cgroup.Cgroup(f"/rundlet-{layout.instance}", cgroup.detect())
    for _ in range(PARENT_TRIES):
        with contextlib.suppress(OSError):
            cgroup.remove_if_empty(parent.path, parent.layout)
        running = any(is_running(record.state.status) for record in engine.context.containers)
        if running or not parent.exists():
            return
        await asyncio.sleep(PARENT_SECONDS)


def _watch_firewall(engine: Engine) -> None:
    network = engine.context.network

    def changed() -> None:
        try:
            if network.on_firewall_change():
                _log.warning("the firewall table was removed or changed by someone else: it has been made again")
        except RundletError as error:
            _log.error("%s", error)

    asyncio.get_running_loop().add_reader(network.watch(), changed)


def _command() -> list[str]:
    """How the launcher starts this engine again."""
    arguments: list[str] = []
    skip = False
    for word in sys.argv[1:]:
        if skip or word.startswith("--ready-fd="):
            skip = False
        elif word == "--ready-fd":
            skip = True
        elif arguments[-1:] == ["--config-file"]:
            arguments.append(os.path.abspath(word))  # the launcher works elsewhere
        else:
            name, equals, value = word.partition("=")
            arguments.append(
                f"--config-file={os.path.abspath(value)}" if (name, equals) == ("--config-file", "=") else word
            )
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if os.path.basename(home) in ("site-packages", "dist-packages"):
        return [sys.executable, "-I", "-m", "rundlet.daemon", *arguments]
    # A source tree: isolated from the caller's environment all the same.
    program = (
        f"import sys; sys.path.insert(0, {home!r}); from rundlet.daemon.main import main; sys.exit(main(sys.argv[1:]))"
    )
    return [sys.executable, "-I", "-c", program, *arguments]
