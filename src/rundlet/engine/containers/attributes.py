"""What every event about a container carries."""

from rundlet.container.record import Record
from rundlet.engine.containers import documents
from rundlet.engine.context import Context
from rundlet.network.joining import Joined
from rundlet.network.networks import Network


def event_attributes(record: Record) -> dict[str, str]:
    """The labels, the image's name and the container's name."""
    labels = documents.config(record).labels or {}
    return {**labels, "image": record.image, "name": record.name}


def network_event(network: Network, container_id: str = "") -> dict[str, str]:
    """What every event about a network carries; ``container_id`` when a container joins or leaves it."""
    attributes = {"name": network.name, "type": network.driver}
    return {"container": container_id, **attributes} if container_id else attributes


def publish_joined(context: Context, action: str, container_id: str, joined: Joined) -> None:
    """``connect`` or ``disconnect`` for each network of a container that starts or has ended."""
    for _endpoint, network in joined:
        context.events.publish("network", action, network.id, network_event(network, container_id))
