"""Health checks: a probe run in the container again and again, and what follows from its results.

| status    | after                                                                 |
|-----------|-----------------------------------------------------------------------|
| starting  | the start; failures during the start period do not count              |
| healthy   | a probe that ended with 0                                             |
| unhealthy | ``retries`` failures in a row                                         |

See: Dockerfile reference, HEALTHCHECK.
"""

import asyncio
from collections.abc import Callable, Sequence

from rundlet.api.container_config import ContainerConfig, HealthConfig
from rundlet.api.containers import Health, HealthResult
from rundlet.api.exec import ExecCreate
from rundlet.container.record import Record
from rundlet.container.state import Status
from rundlet.engine.containers import documents
from rundlet.engine.containers.attributes import event_attributes
from rundlet.engine.containers.execs import ExecService
from rundlet.engine.containers.live import Live
from rundlet.engine.context import Context
from rundlet.errors import RundletError
from rundlet.util.clock import rfc3339_nano

SECOND = 10**9
INTERVAL, TIMEOUT, START_INTERVAL, RETRIES = 30 * SECOND, 30 * SECOND, 5 * SECOND, 3
KEPT_RESULTS = 5
KEPT_OUTPUT = 4096
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"


def command(config: ContainerConfig) -> Sequence[str] | None:
    """The probe's words; None without a health check (or with one that is switched off)."""
    check = config.healthcheck
    if check is None or not check.test or check.test[0] == "NONE":
        return None
    kind, *words = check.test
    if kind == "CMD":
        return words or None
    if kind == "CMD-SHELL" and words:
        return [*(config.shell or ("/bin/sh", "-c")), words[0]]
    return None


class HealthMonitor:
    """Probes every running container that has a health check, from its start to its end."""

    def __init__(self, context: Context, execs: ExecService) -> None:
        self._context = context
        self._execs = execs
        self.on_unhealthy: Callable[[str], None] = lambda _container_id: None
        """Called with the container's ID when its health has turned so that it is to be started again."""

    checks = failures = 0
    """How many there have been."""

    def begin(self, record: Record, live: Live) -> None:
        """The container has been started (or found running)."""
        self.end(live)
        words = command(documents.config(record))
        if words is None:
            return
        live.health = Health(status=STARTING, log=())
        check = documents.config(record).healthcheck
        assert check is not None
        live.prober = asyncio.create_task(self._probe_forever(record, live, words, check))

    def end(self, live: Live) -> None:
        """The container has ended: no probe goes on, its last health stays to be seen."""
        if live.prober is not None:
            live.prober.cancel()
            live.prober = None
            if live.health is not None and live.health.status != HEALTHY:
                live.health = Health(status=UNHEALTHY, failing_streak=live.health.failing_streak, log=live.health.log)

    async def _probe_forever(self, record: Record, live: Live, words: Sequence[str], check: HealthConfig) -> None:
        began = self._context.clock.monotonic()
        start_period = check.start_period / SECOND
        while True:
            in_start = self._context.clock.monotonic() - began < start_period and (
                live.health is not None and live.health.status == STARTING
            )
            interval = (check.start_interval or START_INTERVAL) if in_start else (check.interval or INTERVAL)
            await asyncio.sleep(min(interval, check.interval or INTERVAL) / SECOND)
            if not self._context.containers.has(record.id):
                return
            current = self._context.containers.by_id(record.id)
            if current.state.status is not Status.RUNNING:
                continue
            result = await self._probe(current, words, (check.timeout or TIMEOUT) / SECOND)
            in_start = self._context.clock.monotonic() - began < start_period
            self._take(current, live, result, check.retries or RETRIES, forgiving=in_start)

    async def _probe(self, record: Record, words: Sequence[str], seconds: float) -> HealthResult:
        start = rfc3339_nano(self._context.clock.now_ns())
        try:
            code, output = await self._execs.run(
                record, ExecCreate(cmd=tuple(words), attach_stdout=True, attach_stderr=True), seconds, KEPT_OUTPUT
            )
            text = output.decode(errors="replace")
            if code is None:
                code, text = -1, f"Health check exceeded timeout ({_duration(seconds)})" + (f": {text}" if text else "")
        except RundletError as error:
            code, text = -1, str(error)
        return HealthResult(start=start, end=rfc3339_nano(self._context.clock.now_ns()), exit_code=code, output=text)

    def _take(self, record: Record, live: Live, result: HealthResult, retries: int, *, forgiving: bool) -> None:
        self.checks += 1
        self.failures += result.exit_code != 0
        before = live.health or Health(status=STARTING, log=())
        log = (*(before.log or ()), result)[-KEPT_RESULTS:]
        status, streak = before.status, before.failing_streak
        if result.exit_code == 0:
            status, streak = HEALTHY, 0
        elif not (forgiving and before.status == STARTING):
            streak += 1
            if streak >= retries:
                status = UNHEALTHY
        live.health = Health(status=status, failing_streak=streak, log=log)
        if status != before.status:
            attributes = event_attributes(record)
            self._context.events.publish("container", f"health_status: {status}", record.id, attributes)
            if status == UNHEALTHY and documents.host(record).restart_unhealthy:
                self.on_unhealthy(record.id)


def _duration(seconds: float) -> str:
    """As Go prints it: ``30s``, ``500ms``."""
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
