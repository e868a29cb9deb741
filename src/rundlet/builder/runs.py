"""RUN: an ordinary container of the step's image, whose changes become the layer."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

import msgspec

from rundlet.builder.dockerfile import ast
from rundlet.builder.dockerfile.arguments import HOSTNAME, PREDEFINED
from rundlet.builder.dockerfile.scripts import command_of
from rundlet.builder.errors import BuildError, StepFailedError, StepNotStartedError
from rundlet.builder.layers import LayerMaker
from rundlet.builder.metadata import BUILDKIT_MARK
from rundlet.builder.mounts import MountMaker, Mounts
from rundlet.builder.report import Reporter, Step
from rundlet.builder.request import BuildRequest
from rundlet.builder.state import StageState, key_of
from rundlet.builder.steps import Recorder, Work
from rundlet.errors import RundletError
from rundlet.image.records import Image, Layer
from rundlet.oci.config import ContainerConfig


class RunMount(msgspec.Struct, frozen=True):
    """Something mounted while the step runs. ``kind`` is bind, tmpfs, or image (``source`` is its ID); ``options`` are
    those of a tmpfs, or the path in the image."""

    kind: str
    target: str
    source: str = ""
    read_only: bool = True
    options: str = ""


class RunJob(msgspec.Struct, frozen=True):
    """A container to run. ``config`` has its command in ``cmd``. ``environment`` is not part of the image."""

    image: Image
    config: ContainerConfig
    environment: Mapping[str, str]
    mounts: Sequence[RunMount]
    network: str
    insecure: bool


class Ran(msgspec.Struct, frozen=True):
    """A container that has ended. ``left_out`` are absolute paths in it that the runtime made."""

    container_id: str
    code: int
    left_out: Sequence[str]


class Runner(Protocol):
    """The engine's containers, for steps."""

    def run(
        self, job: RunJob, request: BuildRequest, step: Step, reporter: Reporter
    ) -> AbstractAsyncContextManager[Ran]:
        """Run to the end; the container is there, stopped, until the block is left. Cancelled, nothing is left."""


class Runs:
    """One per build."""

    def __init__(
        self, recorder: Recorder, request: BuildRequest, runner: Runner, layers: LayerMaker, mounts: MountMaker
    ) -> None:
        self._recorder = recorder
        self._request = request
        self._runner = runner
        self._layers = layers
        self._mounts = mounts

    async def run(self, state: StageState, instruction: ast.Run, step: Step, *, cacheable: bool) -> StageState:
        """The state after RUN (expanded). Raises StepFailedError, BuildError and what containers raise."""
        if state.image is None:
            raise BuildError("RUN needs an image: nothing has been added to scratch yet")
        if instruction.devices:
            raise BuildError("RUN --device is not supported by Rundlet")
        insecure = instruction.security == "insecure"
        if insecure and not self._request.insecure_allowed:
            raise BuildError("security.insecure is not allowed")
        if instruction.network == "host" and not self._request.host_network_allowed:
            raise BuildError("network.host is not allowed")
        script = command_of(instruction, state.shell)
        words = script.argv or (*(state.container.entrypoint or ()), *(state.container.cmd or ()))
        if not words:
            raise BuildError("No command specified")
        arguments = state.run_arguments()
        shown = " ".join(words)
        created_by = _said(shown, self._declared(state) if self._request.buildkit else arguments)
        if self._request.buildkit:
            created_by = f"RUN {created_by}{BUILDKIT_MARK}"
        network = instruction.network if instruction.network != "default" else self._request.network
        mounts = await self._mounts.plan(instruction.mounts, script.files, state.directory, step)
        config = msgspec.structs.replace(state.container, cmd=list(words), entrypoint=None, on_build=None)
        work = Work(
            step=step,
            before=state,
            state=state,
            created_by=created_by,
            result=key_of(
                "run",
                state.chain,
                state.container.env or [],
                state.container.user,
                state.directory,
                sorted(state.container.volumes or ()),
                words,
                arguments,
                network,
                insecure,
                mounts.key,
                self._request.extra_hosts,
                self._request.epoch,
                *filter(None, [self._request.arguments.get(HOSTNAME)]),
            ),
            cacheable=cacheable,
            kind="regular",
        )
        image = state.image

        async def action() -> Layer | None:
            environment = {**self._predefined(state), **arguments}
            return await self._execute(image, config, environment, mounts, network, insecure, state, step, shown)

        return await self._recorder.carry_out(work, action)

    def _declared(self, state: StageState) -> dict[str, str]:
        """Every build argument, with what it stands for: as BuildKit's history has them."""
        environment = state.environment()
        return {name: environment.get(name, "") for name in state.arguments}

    def _predefined(self, state: StageState) -> dict[str, str]:
        taken = {item.partition("=")[0] for item in state.container.env or ()}
        found = {
            name: value
            for name, value in self._request.arguments.items()
            if value is not None and name in PREDEFINED and name not in taken
        }
        if self._request.epoch is not None and "SOURCE_DATE_EPOCH" not in taken:
            found["SOURCE_DATE_EPOCH"] = str(self._request.epoch)
        return found

    async def _execute(
        self,
        image: Image,
        config: ContainerConfig,
        environment: Mapping[str, str],
        mounts: Mounts,
        network: str,
        insecure: bool,
        state: StageState,
        step: Step,
        shown: str,
    ) -> Layer | None:
        request = self._request
        latest = request.epoch * 10**9 if request.epoch is not None else None
        async with mounts.prepared() as prepared:
            job = RunJob(
                image=image,
                config=config,
                environment={**environment, **prepared.environment},
                mounts=[RunMount(*item) for item in prepared.mounts],
                network=network,
                insecure=insecure,
            )
            async with AsyncExitStack() as stack:
                try:
                    running = self._runner.run(job, request, step, self._recorder.reporter)
                    ran = await stack.enter_async_context(running)
                except BuildError:
                    raise
                except RundletError as exc:
                    raise StepNotStartedError(shown, exc) from exc
                if ran.code:
                    raise StepFailedError(shown, ran.code)
                return await self._layers.capture(
                    ran.container_id, state.chain, self._recorder.lease, left_out=ran.left_out, latest=latest
                )


def _said(shown: str, arguments: Mapping[str, str]) -> str:
    pairs = " ".join(f"{name}={value}" for name, value in arguments.items())
    return f"|{len(arguments)} {pairs} {shown}" if arguments else shown
