"""All containers: in memory for reading, one directory each on disk.

Create: directory and record (durable) first, then the memory index. Delete: the record is renamed to a tombstone, the
caller removes the container's other objects, then the directory goes. A start finds records without tombstone
(containers), tombstones (finish the removal) and directories with neither (half made: remove). A record that can't be
read costs its container, not the others: it is left as it is, for somebody to look at.
"""

import logging
import os
import re
from collections.abc import Iterator

import msgspec

from rundlet.container import record as records
from rundlet.container.errors import AmbiguousIDError, NameInUseError, RecordWriteError
from rundlet.container.record import Record
from rundlet.errors import NoSuchContainerError
from rundlet.util import fs
from rundlet.util.layout import Layout

_log = logging.getLogger(__name__)
RECORD = "record.json"
TOMBSTONE = "record.deleted"
_HEX = re.compile(r"[0-9a-f]{1,64}\Z")
_ID = re.compile(r"[0-9a-f]{64}\Z")


class _Linking(msgspec.Struct, frozen=True):
    """Of a container's HostConfig, its links: ``<id of the other>:<alias>``."""

    links: tuple[str, ...] | None = msgspec.field(name="Links", default=None)


class ContainerStore:
    """The only writer of ``containers/<id>/record.json``."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._by_id: dict[str, Record] = {}
        self._by_name: dict[str, str] = {}
        self._unwritten: set[str] = set()
        self.damaged: set[str] = set()

    def load(self) -> list[str]:
        """Read every record; returns the IDs of containers whose creation or removal was cut off.

        Raises NewerRecordError when a newer Rundlet wrote one.
        """
        unfinished = []
        for name in filter(_ID.match, sorted(os.listdir(self._layout.containers))):
            path = f"{self._layout.container(name)}/{RECORD}"
            try:
                with open(path, "rb") as file:
                    record = records.decode(file.read(), path)
            except (FileNotFoundError, NotADirectoryError):
                unfinished.append(name)
                continue
            except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
                _log.error("container %s is left out, its record is damaged: %s: %s", name[:12], path, exc)
                self.damaged.add(name)
                continue
            if record.id != name:
                _log.error("container %s is left out, its record is another's: %s", name[:12], path)
                self.damaged.add(name)
                continue
            self._by_id[record.id] = record
            self._by_name[record.name] = record.id
        return unfinished

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def names(self) -> dict[str, str]:
        """Names in use, with the IDs that hold them."""
        return self._by_name

    def by_id(self, container_id: str) -> Record:
        """The current record. Raises NoSuchContainerError."""
        try:
            return self._by_id[container_id]
        except KeyError:
            raise NoSuchContainerError(container_id) from None

    def has(self, container_id: str) -> bool:
        return container_id in self._by_id

    def find(self, reference: str) -> Record:
        """By full ID, then name, a link's name (``parent/alias``), or a unique start of the ID.

        Raises NoSuchContainerError, AmbiguousIDError.
        """
        if reference in self._by_id:
            return self._by_id[reference]
        holder = self._by_name.get(reference.removeprefix("/"))
        if holder in self._by_id:  # a name may be reserved for a container that is only being made
            return self._by_id[holder]
        if _HEX.match(reference):
            found = [record for key, record in self._by_id.items() if key.startswith(reference)]
            if len(found) == 1:
                return found[0]
            if found:
                raise AmbiguousIDError(reference)
        linked = self._by_link(reference.removeprefix("/"))
        if linked is not None:
            return linked
        raise NoSuchContainerError(reference)

    def _by_link(self, reference: str) -> Record | None:
        """The container that ``parent`` knows as ``alias``."""
        parent, _, alias = reference.partition("/")
        holder = self._by_name.get(parent) if alias else None
        if holder is None or holder not in self._by_id:
            return None
        for link in msgspec.json.decode(self._by_id[holder].host_config, type=_Linking).links or ():
            child, _, known_as = link.partition(":")
            if known_as == alias:
                return self._by_id.get(child)
        return None

    def reserve(self, name: str, container_id: str) -> None:
        """Take a name before the container exists. Raises NameInUseError."""
        holder = self._by_name.get(name)
        if holder is not None:
            raise NameInUseError(name, holder)
        self._by_name[name] = container_id

    def release(self, name: str, container_id: str) -> None:
        """Give a reserved name back; a no-op when another container holds it."""
        if self._by_name.get(name) == container_id:
            del self._by_name[name]

    def add(self, record: Record) -> None:
        """Make a new container durable. Its name must be reserved. Raises RecordWriteError; nothing is left then."""
        directory = self._layout.container(record.id)
        try:
            os.makedirs(directory, 0o710, exist_ok=True)
            self._write(record, durable=True)
        except OSError as error:
            fs.remove_tree(directory)
            raise RecordWriteError(directory, error) from error
        self._by_id[record.id] = record

    def save(self, record: Record, *, durable: bool = False) -> None:
        """Replace a container's record; ``durable`` for what the user asked for. Raises RecordWriteError then.

        State that follows from what happens to processes is true whether or not it can be written: on a full disk it is
        kept in memory and written by :meth:`flush` later. A new engine finds it out again from shims and exit records.
        """
        if record.id not in self._by_id:
            raise NoSuchContainerError(record.id)
        before, self._by_id[record.id] = self._by_id[record.id], record
        try:
            self._write(record, durable=durable)
        except OSError as error:
            if durable:
                self._by_id[record.id] = before
                raise RecordWriteError(self._layout.container(record.id), error) from error
            self._unwritten.add(record.id)

    def flush(self) -> None:
        """Try again to write what a full disk refused."""
        for container_id in list(self._unwritten):
            self._unwritten.discard(container_id)
            if container_id in self._by_id:
                self.save(self._by_id[container_id])

    def _write(self, record: Record, *, durable: bool) -> None:
        path = f"{self._layout.container(record.id)}/{RECORD}"
        fs.write_atomic(path, records.encode(record), durable=durable)

    def rename(self, record: Record, name: str) -> Record:
        """Give a container a new name. Raises NameInUseError."""
        import msgspec

        self.reserve(name, record.id)
        renamed = msgspec.structs.replace(record, name=name)
        try:
            self.save(renamed, durable=True)
        except BaseException:
            self.release(name, record.id)
            raise
        self.release(record.name, record.id)
        return renamed

    def bury(self, container_id: str) -> None:
        """First step of a removal: from here on a restart of the engine finishes it. It may have been taken before."""
        directory = self._layout.container(container_id)
        tombstone = f"{directory}/{TOMBSTONE}"
        try:
            os.rename(f"{directory}/{RECORD}", tombstone)
        except FileNotFoundError:
            if not os.path.exists(tombstone):
                raise

    def forget(self, container_id: str) -> None:
        """Last step of a removal: the directory and the name."""
        fs.remove_tree(self._layout.container(container_id))
        self._unwritten.discard(container_id)
        record = self._by_id.pop(container_id, None)
        if record is not None:
            self.release(record.name, container_id)
