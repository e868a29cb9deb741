"""Where COPY, ADD and mounts look: the main context, a stage, another context, an image."""

from collections.abc import Sequence
from typing import Protocol

from rundlet.builder.graph import find_stage
from rundlet.builder.report import Step
from rundlet.builder.request import BuildRequest
from rundlet.builder.solver import BaseImages
from rundlet.builder.state import StageState
from rundlet.builder.transfers import Place
from rundlet.builder.workspace import Workspace
from rundlet.image.leases import Lease
from rundlet.image.records import Layer
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
    ) -> None:
        self._request = request
        self._workspace = workspace
        self._stages = stages
        self._bases = bases
        self._images = images
        self._lease = lease

    async def place(self, name: str, step: Step) -> Place:
        """See transfers.Places. Raises what pulling raises, CyclicStagesError."""
        workspace = self._workspace
        if not name:
            return Place(lambda: workspace.read_directory(workspace.context), False, "build context")
        stack = await self.stack(name, step)
        return Place(lambda: workspace.read_stack(stack), True, name)

    async def stack(self, name: str, step: Step) -> Sequence[Layer]:
        """The layers of a stage or image."""
        request = self._request
        index = find_stage(request.dockerfile, name, len(request.dockerfile.stages), request.contexts)
        if index is not None:
            return (await self._stages.state_of(index)).stack
        image = await self._bases.get(
            name, request.platform, given=request.platform_given, pull=request.pull, step=step
        )
        stack = self._images.layers(image.id)
        await self._lease.hold(image.id, *(digest for layer in stack for digest in (layer.chain, layer.blob.digest)))
        return stack
