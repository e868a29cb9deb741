"""The text of ``info``."""

from __future__ import annotations

from rundlet.cli.format.units import bytes_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


def _boolean(value: Any) -> str:
    return "true" if value else "false"


def info_text(client: dict[str, Any], found: dict[str, Any] | None, *, debug: bool) -> str:
    """Client and server, as Docker lays them out."""
    lines = ["Client: Rundlet", f" Version:    {client['Version']}", f" Context:    {client['Context']}"]
    lines += [f" Debug Mode: {_boolean(debug)}", *_client_plugins(client["Plugins"]), "", "Server:"]
    if found is not None:
        lines += _server(found)
    return "\n".join(lines) + "\n\n"


def _client_plugins(plugins: list[dict[str, Any]]) -> Iterator[str]:
    if plugins:
        yield " Plugins:"
    for plugin in plugins:
        yield f"  {plugin['Name']}: {plugin.get('ShortDescription', '')} ({plugin.get('Vendor', '')})"
        if plugin.get("Version"):
            yield f"    Version:  {plugin['Version']}"
        yield f"    Path:     {plugin['Path']}"


def _server(info: dict[str, Any]) -> Iterator[str]:
    yield f" Containers: {info.get('Containers', 0)}"
    yield f"  Running: {info.get('ContainersRunning', 0)}"
    yield f"  Paused: {info.get('ContainersPaused', 0)}"
    yield f"  Stopped: {info.get('ContainersStopped', 0)}"
    yield f" Images: {info.get('Images', 0)}"
    yield from _when(info, (("Server Version", "ServerVersion"), ("Storage Driver", "Driver")))
    for key, value in info.get("DriverStatus") or ():
        yield f"  {key}: {value}"
    yield from _when(
        info,
        (("Logging Driver", "LoggingDriver"), ("Cgroup Driver", "CgroupDriver"), ("Cgroup Version", "CgroupVersion")),
    )
    plugins = info.get("Plugins") or {}
    yield " Plugins:"
    for kind in ("Volume", "Network", "Authorization", "Log"):
        names = plugins.get(kind) or ()
        if names or kind in ("Volume", "Network"):
            yield f"  {kind}: {' '.join(names)}"
    yield from _listed("CDI spec directories", info.get("CDISpecDirs") or ())
    devices = [f"{device.get('Source', '')}: {device.get('ID', '')}" for device in info.get("DiscoveredDevices") or ()]
    yield from _listed("Discovered Devices", devices)
    yield f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState') or 'inactive'}"
    runtimes = info.get("Runtimes") or {}
    if runtimes:
        yield f" Runtimes: {' '.join(runtimes)}"
        yield f" Default Runtime: {info.get('DefaultRuntime', '')}"
    yield from _when(info, (("Init Binary", "InitBinary"),))
    for label, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
        commit = info.get(key)
        if isinstance(commit, dict) and commit.get("ID"):
            yield f" {label} version: {commit['ID']}"
    yield from _security(info.get("SecurityOptions") or ())
    if info.get("Rootless"):
        yield " Rootless:"
        yield from (f"  {key}: {value}" for key, value in info["Rootless"])
    yield from _when(
        info,
        (
            ("Kernel Version", "KernelVersion"),
            ("Operating System", "OperatingSystem"),
            ("OSType", "OSType"),
            ("Architecture", "Architecture"),
        ),
    )
    yield f" CPUs: {info.get('NCPU', 0)}"
    yield f" Total Memory: {bytes_size(info.get('MemTotal', 0))}"
    yield from _when(info, (("Name", "Name"), ("ID", "ID"), ("Docker Root Dir", "DockerRootDir")))
    yield f" Debug Mode: {_boolean(info.get('Debug'))}"
    if info.get("Debug"):
        yield f"  File Descriptors: {info.get('NFd', 0)}"
        yield f"  Goroutines: {info.get('NGoroutines', 0)}"
        yield from _when(info, ((" System Time", "SystemTime"),))
        yield f"  EventsListeners: {info.get('NEventsListener', 0)}"
    yield from _when(info, (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")))
    labels = info.get("Labels") or ()
    if labels:
        yield " Labels:"
        yield from (f"  {label}" for label in labels)
    yield f" Experimental: {_boolean(info.get('ExperimentalBuild'))}"
    yield from _registries(info.get("RegistryConfig") or {})
    yield f" Live Restore Enabled: {_boolean(info.get('LiveRestoreEnabled'))}"
    yield from _when(info, (("Product License", "ProductLicense"),))
    pools = info.get("DefaultAddressPools") or ()
    if pools:
        yield " Default Address Pools:"
        yield from (f"   Base: {pool.get('Base', '')}, Size: {pool.get('Size', 0)}" for pool in pools)


def _listed(label: str, values: Sequence[str]) -> Iterator[str]:
    if values:
        yield f" {label}:"
        yield from (f"  {value}" for value in values)


def _when(info: dict[str, Any], rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for label, key in rows:
        if info.get(key):
            yield f" {label}: {info[key]}"


def _security(options: Any) -> Iterator[str]:
    if not options:
        return
    yield " Security Options:"
    for option in options:
        values = dict(part.partition("=")[::2] for part in option.split(","))
        yield f"  {values.pop('name', option)}"
        for key, value in values.items():
            yield f"   {key.capitalize()}: {value}"


def _registries(config: dict[str, Any]) -> Iterator[str]:
    cidrs = config.get("InsecureRegistryCIDRs") or ()
    insecure = [name for name, entry in (config.get("IndexConfigs") or {}).items() if not entry.get("Secure", True)]
    if cidrs or insecure:
        yield " Insecure Registries:"
        yield from (f"  {name}" for name in (*insecure, *cidrs))
    if config.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in config["Mirrors"])
