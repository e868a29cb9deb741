"""Which containers use an image: what the image room asks before it removes one."""

from collections.abc import Sequence

from rundlet.container.state import is_running
from rundlet.container.store import ContainerStore
from rundlet.image.records import User
from rundlet.oci.digest import Digest


class ImageUsage:
    """Implements ``image.records.Usage``."""

    def __init__(self, containers: ContainerStore) -> None:
        self._containers = containers

    def users(self, image: Digest) -> Sequence[User]:
        wanted = str(image)
        return [
            User(record.id, is_running(record.state.status))
            for record in self._containers
            if record.image_id == wanted or any(point.name == wanted for point in record.mounts)
        ]
