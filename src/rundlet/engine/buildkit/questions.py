"""What clients ask of the frontend about a Dockerfile (``requestid``): nothing is built for it, no context is sent."""

import asyncio

from rundlet.api.builds import BuildProgress
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.builder.workspace import Workspace
from rundlet.engine.buildkit import progress
from rundlet.engine.buildkit.frontend import Plan
from rundlet.engine.buildkit.jobs import Job
from rundlet.engine.buildkit.runs import BuildRuns
from rundlet.engine.builds import calls, checks
from rundlet.engine.context import Context


class Questions:
    """One per engine."""

    def __init__(self, runs: BuildRuns, context: Context) -> None:
        self._runs = runs
        self._context = context

    async def answer(self, job: Job, plan: Plan) -> dict[str, bytes]:
        """The result's metadata. Raises NotSupportedError, DockerfileError and what fetching raises."""
        kind = calls.kind_of(plan.request)
        if kind == "describe":
            return calls.describe().metadata()
        supply = await self._runs.supply(plan, job.session, {})
        workspace = Workspace(self._context.layout, self._context.snapshots, self._context.launcher)
        await asyncio.to_thread(workspace.make)
        said: list[BuildProgress] = []
        try:
            found = await supply.inspected(workspace, said.append)
        except DockerfileError as exc:
            if kind != calls.CHECK or not exc.text:
                raise
            return calls.checked(exc.text, checks.before(exc), exc, plan.options).metadata()
        finally:
            for message in said:
                await job.said.say(progress.status(message, job.ref))
            await asyncio.shield(asyncio.to_thread(workspace.remove))
        if kind != calls.CHECK:
            return calls.answer(plan.request, found, (), None, plan.options).metadata()
        warnings = checks.findings(found, plan.options, self._context.images)
        wrong = checks.mistake(found, plan.options, self._context.images, every=True)
        wrong = wrong or checks.violation(found, warnings, plan.options)
        return calls.answer(plan.request, found, warnings, wrong, plan.options).metadata()
