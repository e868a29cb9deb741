"""Images: who fetches, sends, keeps and removes them."""

from dataclasses import dataclass

from rundlet.daemon.wiring.grounds import Grounds
from rundlet.engine.context import Context
from rundlet.engine.images.policy import PolicyKeeper
from rundlet.engine.images.service import ImageRooms, ImageService
from rundlet.engine.usage import ImageUsage
from rundlet.image.compressing import LayerCompressor
from rundlet.image.garbage import Garbage
from rundlet.image.import_ import Importer
from rundlet.image.layers import LayerImporter
from rundlet.image.leases import Leases
from rundlet.image.load import Loader
from rundlet.image.pull import Puller
from rundlet.image.push import Pusher
from rundlet.image.removal import Remover
from rundlet.image.save import Saver
from rundlet.image.unpack import Unpacker
from rundlet.image.uses import Uses


@dataclass(frozen=True, slots=True)
class Images:
    """The services of images, as far as other rooms need them."""

    service: ImageService
    rooms: ImageRooms
    garbage: Garbage
    unpacker: Unpacker
    policy: PolicyKeeper | None
    layers: LayerImporter


def join(context: Context, grounds: Grounds, leases: Leases) -> Images:
    """``policy`` is None without the key ``gc`` in the configuration."""
    images, snapshots, launcher = grounds.images, grounds.snapshots, grounds.launcher
    garbage = Garbage(grounds.database, grounds.content, snapshots, leases)
    layers = LayerImporter(grounds.content, snapshots, launcher, grounds.config.moving.downloads)
    compressor = LayerCompressor(images, leases, garbage)
    rooms = ImageRooms(
        puller=Puller(images, snapshots, layers, grounds.registry, leases, garbage, grounds.admission),
        pusher=Pusher(images, grounds.registry, leases, compressor, grounds.config.moving.uploads),
        importer=Importer(images, snapshots, launcher, leases, grounds.clock),
        remover=Remover(images, garbage, ImageUsage(grounds.containers)),
        saver=Saver(images, leases),
        loader=Loader(images, snapshots, layers, leases, garbage),
        leases=leases,
        http=grounds.http,
        registry=grounds.registry,
    )
    service = ImageService(context, rooms)
    uses = Uses(grounds.database, grounds.clock)
    policy = PolicyKeeper(context, service, leases, uses, grounds.config.gc) if grounds.config.gc else None
    return Images(service, rooms, garbage, Unpacker(images, layers, leases), policy, layers)
