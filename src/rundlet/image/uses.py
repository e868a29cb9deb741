"""When each image was last used, for a policy that removes those that nobody used for long.

Nothing is written when a container is made: whoever asks now and then for the images in use is precise enough, and a
start of a container does not wait for the disk.
"""

from collections.abc import Iterable

from rundlet.oci.digest import Digest
from rundlet.util.clock import Clock
from rundlet.util.database import Database

SCHEMA: tuple[str, ...] = (
    """CREATE TABLE IF NOT EXISTS image_uses (
        image TEXT PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE, used_ns INTEGER NOT NULL
    ) STRICT""",
)


class Uses:
    """Made by the wiring. Blocks for a write of the database: call it in a thread."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._watching = False

    def observe(self, used: Iterable[Digest]) -> dict[Digest, int]:
        """When every image was last used, in nanoseconds: now for those in ``used``.

        One that was never seen before counts from when it got its tag, or from now. What was there before anybody
        watched counts from now: nobody knows.
        """
        now = self._clock.now_ns()
        new = "SELECT id, iif(tagged_ns, tagged_ns, ?) FROM images" if self._watching else "SELECT id, ? FROM images"
        with self._database.transaction(durable=False) as cursor:
            cursor.executemany(
                "INSERT OR REPLACE INTO image_uses SELECT id, ? FROM images WHERE id = ?",
                [(now, str(image)) for image in used],
            )
            cursor.execute(f"INSERT OR IGNORE INTO image_uses {new}", (now,))
        self._watching = True
        rows = self._database.query("SELECT image, max(used_ns, tagged_ns) FROM image_uses JOIN images ON id = image")
        return {Digest.parse(image): used_ns for image, used_ns in rows}
