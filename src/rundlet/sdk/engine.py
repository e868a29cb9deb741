"""An engine: the way to everything else."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import Any, Self, Unpack, cast

from rundlet.builder.ignore import NAME, BadPatternError, Patterns
from rundlet.cli.building.packing import Tree
from rundlet.cli.exit import CommandError
from rundlet.sdk.api import Api
from rundlet.sdk.container import Container
from rundlet.sdk.errors import EngineError, ExitError, NotFoundError
from rundlet.sdk.models import Event, Image, Result, Version
from rundlet.sdk.options import ContainerOptions, body_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Engine:
    """``with rundlet.connect() as engine``. Safe to use from several threads. Every method raises EngineError."""

    def __init__(self, host: str | None = None) -> None:
        self.api = Api(host)

    def __enter__(self) -> Self:
        self.version()
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between calls."""

    def version(self) -> Version:
        found = self.api.get("/version")
        return Version(str(found["Version"]), str(found["ApiVersion"]), str(found.get("KernelVersion", "")))

    def info(self) -> dict[str, Any]:
        """What ``rundlet info`` shows, as the Engine API has it."""
        return cast("dict[str, Any]", self.api.get("/info"))

    # Containers

    def run(
        self,
        image: str,
        *command: str,
        input: bytes | None = None,
        check: bool = True,
        **options: Unpack[ContainerOptions],
    ) -> Result:
        """Run a container to its end and remove it; ``input`` is its standard input.

        Raises ExitError for another status than 0, if ``check``.
        """
        container = self.container(image, *command, **fed(options, input))
        try:
            result = container.run(input)
        finally:
            container.__exit__()
        return checked(image, result) if check else result

    def container(self, image: str, *command: str, **options: Unpack[ContainerOptions]) -> Container:
        """Make a container; the image is pulled when it is not here. Started by ``with``, or by its ``start``."""
        body = body_of(image, command, options)
        query = {"name": options["name"]} if "name" in options else {}
        try:
            made = self.api.post("/containers/create", body, **query)
        except NotFoundError as exc:
            if "No such image" not in str(exc):
                raise
            self.pull(image)
            made = self.api.post("/containers/create", body, **query)
        return Container(self.api, str(made["Id"]))

    def get(self, name: str) -> Container:
        """A container by name or ID. Raises NotFoundError."""
        return Container(self.api, str(self.api.get(f"/containers/{name}/json")["Id"]))

    def containers(
        self, *, all: bool = False, filters: Mapping[str, str | Sequence[str]] | None = None
    ) -> list[Container]:
        """Those that run; with ``all`` every one."""
        found = self.api.get("/containers/json", all=all, filters=_filters(filters))
        return [Container(self.api, str(one["Id"])) for one in found]

    # Images

    def pull(self, reference: str, platform: str = "") -> Image:
        """``latest`` where no tag is given."""
        name = reference if "@" in reference or ":" in reference.rpartition("/")[2] else f"{reference}:latest"
        self.api.progress("/images/create", fromImage=name, platform=platform)
        return self.image(name)

    def image(self, reference: str) -> Image:
        """Raises NotFoundError."""
        found = self.api.get(f"/images/{reference}/json")
        labels = dict((found.get("Config") or {}).get("Labels") or {})
        return Image(str(found["Id"]), tuple(found.get("RepoTags") or ()), int(found["Size"]), labels)

    def images(self) -> list[Image]:
        return [
            Image(str(one["Id"]), tuple(one.get("RepoTags") or ()), int(one["Size"]), dict(one.get("Labels") or {}))
            for one in self.api.get("/images/json")
        ]

    def tag(self, reference: str, name: str) -> None:
        repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "latest")
        self.api.post(f"/images/{reference}/tag", None, repo=repository, tag=tag)

    def remove_image(self, reference: str, *, force: bool = False) -> None:
        self.api.delete(f"/images/{reference}", force=force)

    def import_image(self, archive: str | os.PathLike[str], name: str) -> Image:
        """An image of one layer from a file system's tar archive."""
        with open(archive, "rb") as file:
            pieces = iter(lambda: file.read(1 << 20), b"")
            self.api.upload("POST", "/images/create", pieces, fromSrc="-", repo=name)
        return self.image(name)

    def build(
        self, directory: str | os.PathLike[str], tag: str, *, dockerfile: str = "Dockerfile", **args: str
    ) -> Image:
        """Build ``directory``, all of it but what its ``.dockerignore`` names; ``args`` are build arguments."""
        query = {"t": tag, "dockerfile": dockerfile, "rm": True, "buildargs": dict(args)}
        self.api.upload("POST", "/build", _context(os.fspath(directory)), **query)
        return self.image(tag)

    # Networks, volumes, events

    @contextmanager
    def network(self, name: str, **config: Any) -> Iterator[str]:
        """A network for as long as the ``with`` lasts; gives its name. ``config``: fields of the Engine API."""
        self.api.post("/networks/create", {"Name": name, **config})
        try:
            yield name
        finally:
            with suppress(NotFoundError):
                self.api.delete(f"/networks/{name}")

    @contextmanager
    def volume(self, name: str = "", **config: Any) -> Iterator[str]:
        """A volume for as long as the ``with`` lasts; gives its name, made up if none is given."""
        made = str(self.api.post("/volumes/create", {"Name": name, **config})["Name"])
        try:
            yield made
        finally:
            with suppress(NotFoundError):
                self.api.delete(f"/volumes/{made}", force=True)

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Iterator[Event]:
        """What happens, from ``since`` (seconds since 1970; now) to ``until`` (for ever)."""
        for message in self.api.messages("/events", since=since, until=until, filters=_filters(filters)):
            yield Event.of(message)


def checked(what: str, result: Result) -> Result:
    """``result``, if it is a success. Raises ExitError."""
    if result.code:
        raise ExitError(what, result, result.code, (result.stderr or result.stdout).decode(errors="replace"))
    return result


def fed(options: ContainerOptions, input: bytes | None) -> ContainerOptions:
    return options if input is None else {**options, "stdin": True}


def _filters(wanted: Mapping[str, str | Sequence[str]] | None) -> dict[str, list[str]] | None:
    if not wanted:
        return None
    return {name: [value] if isinstance(value, str) else list(value) for name, value in wanted.items()}


def _context(directory: str) -> Iterator[bytes]:
    """What of a directory counts, as tar. Raises EngineError."""
    try:
        with open(f"{directory}/{NAME}", "rb") as file:
            patterns = Patterns.read(file.read())
    except FileNotFoundError:
        patterns = Patterns(())
    except (OSError, BadPatternError) as exc:
        raise EngineError(f"{directory}/{NAME}: {exc}") from exc
    try:
        yield from Tree(directory, patterns).pack()
    except CommandError as exc:
        raise EngineError(str(exc)) from exc
