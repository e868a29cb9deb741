"""What every event about a container carries."""

from rundlet.container.record import MountPoint, Record
from rundlet.engine.containers import documents
from rundlet.engine.context import Context
from rundlet.network.networks import Network
from rundlet.network.sandbox import parse_mode


def event_attributes(record: Record) -> dict[str, str]:
    """The labels, the image's name and the container's name."""
    labels = documents.config(record).labels or {}
    return {**labels, "image": record.image, "name": record.name}


def network_event(network: Network, container_id: str = "") -> dict[str, str]:
    """What every event about a network carries; ``container_id`` when a container joins or leaves it."""
    attributes = {"name": network.name, "type": network.driver}
    return {"container": container_id, **attributes} if container_id else attributes


def joined_networks(context: Context, record: Record) -> list[Network]:
    """Those that it has endpoints on; else ``none`` or ``host``, which are networks to Docker."""
    mode = parse_mode(documents.host(record).network_mode)
    if mode.kind in ("none", "host"):
        return [context.network.network(mode.kind)]
    return [network for _endpoint, network in context.network.joined(record.id)]


def publish_start(context: Context, record: Record) -> None:
    """Networks and volumes of a container that is about to be said to have started."""
    for network in joined_networks(context, record):
        context.events.publish("network", "connect", network.id, network_event(network, record.id))
    for point in _volumes(record):
        attributes = {
            "container": record.id,
            "destination": point.destination,
            "driver": point.driver or "local",
            "propagation": point.propagation,
            "read/write": "true" if point.rw else "false",
        }
        context.events.publish("volume", "mount", point.name, attributes)


def publish_end(context: Context, record: Record, joined: list[Network]) -> None:
    """The same of one that has ended; ``joined`` are the networks that it was on."""
    for network in joined:
        context.events.publish("network", "disconnect", network.id, network_event(network, record.id))
    for point in _volumes(record):
        attributes = {"container": record.id, "driver": point.driver or "local"}
        context.events.publish("volume", "unmount", point.name, attributes)


def _volumes(record: Record) -> list[MountPoint]:
    return [point for point in record.mounts if point.kind == "volume"]
