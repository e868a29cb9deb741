"""Where a stage stands after a step: the image so far, and what later instructions see."""

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from rundlet.image.records import Image, Layer
from rundlet.oci.config import ContainerConfig, History, ImageConfig
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform

DEFAULT_SHELL = ("/bin/sh", "-c")


class StageState(msgspec.Struct, frozen=True):
    """``image`` is None as long as there is none (``FROM scratch``). ``arguments`` are those declared so far, with
    their values (None: declared without one)."""

    config: ImageConfig
    stack: tuple[Layer, ...] = ()
    image: Image | None = None
    arguments: Mapping[str, str | None] = {}
    command_set: bool = False

    @property
    def container(self) -> ContainerConfig:
        return self.config.config or ContainerConfig()

    @property
    def chain(self) -> Digest | None:
        return self.stack[-1].chain if self.stack else None

    @property
    def platform(self) -> Platform:
        return self.config.platform

    @property
    def parent(self) -> str:
        """What the next step's image stands on."""
        return str(self.image.id) if self.image is not None else f"scratch {self.platform}"

    @property
    def shell(self) -> tuple[str, ...]:
        return tuple(self.container.shell or DEFAULT_SHELL)

    @property
    def directory(self) -> str:
        return self.container.working_dir or "/"

    def environment(self) -> dict[str, str]:
        """What variables in instructions mean: ENV before ARG."""
        values = {name: value for name, value in self.arguments.items() if value is not None}
        for item in self.container.env or ():
            name, _, value = item.partition("=")
            values[name] = value
        return values

    def run_arguments(self) -> dict[str, str]:
        """Build arguments that a RUN gets in its environment: those that no ENV has taken over."""
        taken = {item.partition("=")[0] for item in self.container.env or ()}
        return {
            name: value for name, value in sorted(self.arguments.items()) if value is not None and name not in taken
        }

    def changed(self, container: ContainerConfig) -> "StageState":
        return msgspec.structs.replace(self, config=msgspec.structs.replace(self.config, config=container))


def key_of(*parts: object) -> str:
    """One name for everything that decides a step's result."""
    return hashlib.sha256(msgspec.json.encode(parts, enc_hook=str, order="sorted")).hexdigest()


def with_history(config: ImageConfig, step: History) -> ImageConfig:
    return msgspec.structs.replace(config, history=[*(config.history or ()), step])


def words_json(words: Sequence[str]) -> str:
    """``["a" "b"]``, as Docker writes words in a history."""
    return "[" + " ".join(_quoted(word) for word in words) + "]"


def _quoted(word: str) -> str:
    return msgspec.json.encode(word).decode()
