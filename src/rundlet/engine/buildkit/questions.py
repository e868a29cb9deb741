"""What clients ask of the frontend about a Dockerfile (``requestid``): nothing is built for it, no context is sent."""

from rundlet.api.builds import BuildProgress
from rundlet.builder.dockerfile.errors import DockerfileError
from rundlet.engine.buildkit import progress
from rundlet.engine.buildkit.frontend import Plan
from rundlet.engine.buildkit.jobs import Job
from rundlet.engine.buildkit.runs import BuildRuns
from rundlet.engine.builds import calls, checks
from rundlet.engine.builds.workspaces import workspace_of
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
        said: list[BuildProgress] = []
        try:
            async with workspace_of(self._context) as workspace:
                found = await supply.inspected(workspace, said.append)
        except DockerfileError as exc:
            if kind != calls.CHECK or not exc.text:
                raise
            unread = checks.Verdict(checks.before(exc), exc)
            return calls.checked(exc.text, unread, plan.options).metadata()
        finally:
            for message in said:
                await job.said.say(progress.status(message, job.ref))
        verdict = checks.Verdict()
        if kind == calls.CHECK:
            verdict = checks.verdict(found, plan.options, self._context.images, asked=True)
        return calls.answer(plan.request, found, verdict, plan.options).metadata()
