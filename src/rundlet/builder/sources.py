"""Where COPY, ADD and mounts look: the main context, a stage, another context, an image."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rundlet.builder.errors import FromImageError, StageNotFoundError, StageNumberError
from rundlet.builder.graph import find_stage
from rundlet.builder.namedcontexts import IMAGE, INPUT, is_directory, named
from rundlet.builder.report import Step
from rundlet.builder.request import BuildRequest
from rundlet.builder.solver import BaseImages
from rundlet.builder.state import StageState
from rundlet.builder.transfers import Place
from rundlet.builder.workspace import Workspace
from rundlet.errors import RundletError
from rundlet.image.holding import hold_image
from rundlet.image.leases import Lease
from rundlet.image.records import Image, Layer
from rundlet.image.store import ImageStore


class Stages(Protocol):
    """Results of stages, by index."""

    async def state_of(self, index: int) -> StageState: ...


class SourceFinder:
    """One per build."""

    def __init__(
        self,
        request: BuildRequest,
        workspace: Workspace,
        stages: Stages,
        bases: BaseImages,
        images: ImageStore,
        lease: Lease,
        inputs: Mapping[str, Workspace],
    ) -> None:
        """``inputs`` are contexts that the client has sent, by name, and such as were fetched, by their URL."""
        self._request = request
        self._workspace = workspace
        self._stages = stages
        self._bases = bases
        self._images = images
        self._lease = lease
        self._inputs = inputs

    async def place(self, name: str, step: Step) -> Place:
        """See transfers.Places. Raises what pulling raises, CyclicStagesError."""
        workspace, buildkit = self._workspace, self._request.buildkit
        given = self._given(name)
        if given is not None:
            shown = f"build context {name}" if name else "build context"
            return Place(
                lambda: workspace.read_directory(given.context), False, shown, memo=given.memo, buildkit=buildkit
            )
        stack = await self.stack(name, step)
        return Place(lambda: workspace.read_stack(stack), True, name, buildkit=buildkit)

    def directory(self, name: str) -> str:
        """The directory on disk that ``name`` means: the context or one that the client has sent; "" for others."""
        found = self._given(name)
        return found.context if found is not None else ""

    def _given(self, name: str) -> Workspace | None:
        if not name:
            return self._workspace
        given = named(self._request.contexts, name) or ""
        return self._inputs.get(given.removeprefix(INPUT)) if is_directory(given) else None

    async def stack(self, name: str, step: Step) -> Sequence[Layer]:
        """The layers of a stage or image."""
        index = self._stage(name)
        if index is not None:
            return (await self._stages.state_of(index)).stack
        image = await self._base(name, step)
        return (await hold_image(self._images, self._lease, image.id)).layers

    async def image(self, name: str, step: Step) -> Image | None:
        """The image that :meth:`stack` is of; None for a stage in which nothing has been done yet."""
        index = self._stage(name)
        return (await self._stages.state_of(index)).image if index is not None else await self._base(name, step)

    def _stage(self, name: str) -> int | None:
        dockerfile = self._request.dockerfile
        return find_stage(dockerfile, name, len(dockerfile.stages), self._request.contexts)

    async def _base(self, name: str, step: Step) -> Image:
        request = self._request
        given = named(request.contexts, name) or name
        if given.isascii() and given.isdigit():
            raise StageNumberError(name)
        if given.startswith("target:"):
            raise StageNotFoundError(name)
        reference = given.removeprefix(IMAGE)
        try:
            return await self._bases.get(
                reference, request.platform, given=request.platform_given, pull=request.pull, step=step
            )
        except RundletError as exc:
            raise FromImageError(name, exc) from exc
