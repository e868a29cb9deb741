"""The configuration as the engine's services need it."""

from rundlet.api.container_config import LogConfig
from rundlet.container.store import ContainerStore
from rundlet.daemon import cgroups, networks
from rundlet.daemon.config import NATIVE_RUNTIME, Config, found_runtimes
from rundlet.daemon.errors import ConfigError
from rundlet.daemon.rootless.link import KeeperLink
from rundlet.engine import logdrivers
from rundlet.engine.containers import usermaps
from rundlet.engine.containers.usermaps import UserMaps
from rundlet.engine.context import Settings
from rundlet.errors import RundletError
from rundlet.util.layout import Layout


def settings(config: Config, outside: KeeperLink | None) -> Settings:
    """Raises ConfigError for a default runtime or a log driver that can't be."""
    runtimes = {**found_runtimes(), **config.runtimes}
    if config.default_runtime not in ("", NATIVE_RUNTIME, *runtimes):
        raise ConfigError(f"specified default runtime '{config.default_runtime}' does not exist")
    log_config = LogConfig(type=config.log_driver, config=config.log_opts)
    try:
        logdrivers.check(log_config)
    except RundletError as error:
        raise ConfigError(f"failed to set log opts: {error}") from error
    return Settings(
        default_runtime=config.default_runtime or NATIVE_RUNTIME,
        runtimes=runtimes,
        registry_mirrors=config.registry_mirrors,
        insecure_registries=config.insecure_registries,
        debug=config.debug,
        dns=networks.resolver(config.network),
        open_hosts=tuple(host for host in config.hosts if host.startswith("tcp://") and not config.tlsverify),
        log_config=log_config,
        cdi_spec_dirs=config.cdi_spec_dirs,
        rootless=config.rootless >= 0,
        chosen=() if outside is None else outside.chosen(),
        lacks=() if outside is None else outside.lacks(),
        containers=config.containers,
        runtime_args=config.runtime_args,
        labels=config.labels,
        buildkit=config.buildkit,
        experimental=config.experimental,
        maps_users=bool(config.userns_remap) or config.default_userns not in ("", usermaps.HOST),
        scopes=cgroups.service_manager(config.exec_opts, config.rootless, outside.cgroup if outside else ""),
    )


def user_maps(config: Config, layout: Layout, containers: ContainerStore) -> UserMaps:
    """Whose users containers have. Raises ConfigError."""
    try:
        usermaps.check(config.default_userns)
        shared = usermaps.shared_by(config.userns_remap) if config.userns_remap else None
    except RundletError as error:
        raise ConfigError(f"default-userns: {error}") from error
    except ValueError as error:
        raise ConfigError(f"userns-remap: {error}") from error
    return UserMaps(lambda: containers, layout.instance, config.default_userns, shared)
