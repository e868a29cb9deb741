"""``--restart-unhealthy``: a container whose health check fails is started again."""

import time

from tests.engines import Engine, wait_for

CHECK = ("--health-cmd", "test ! -e /sick", "--health-interval", "100ms", "--health-retries", "2")


def starts(engine: Engine, name: str) -> int:
    return engine.ok("logs", name).count("started")


def test_an_unhealthy_container_is_started_again(engine: Engine) -> None:
    script = "echo started; rm -f /sick; trap 'exit 0' TERM; while :; do sleep 0.05; done"
    engine.ok("run", "-d", "--name", "box", "--restart-unhealthy", *CHECK, "busybox", "sh", "-c", script)
    wait_for(lambda: engine.field("box", "{{.State.Health.Status}}") == "healthy")
    engine.ok("exec", "box", "touch", "/sick")
    wait_for(lambda: starts(engine, "box") == 2, 30)
    wait_for(lambda: engine.field("box", "{{.State.Health.Status}}") == "healthy")
    wait_for(lambda: engine.field("box", "{{.RestartCount}}") == "1")
    said = engine.ok(
        "events",
        "--since",
        "0",
        "--until",
        f"{time.time():.6f}",
        "--filter",
        "container=box",
        "--format",
        "{{.Action}}",
    )
    assert "health_status: unhealthy" in said.splitlines()
    assert "restart" in said.splitlines()
    # The option outlives the engine.
    engine.wait_for_successor(engine.kill())
    engine.ok("exec", "box", "touch", "/sick")
    wait_for(lambda: starts(engine, "box") == 3, 30)
    # And can be taken back.
    engine.ok("update", "--restart-unhealthy=false", "box")
    wait_for(lambda: engine.field("box", "{{.State.Health.Status}}") == "healthy")
    engine.ok("exec", "box", "touch", "/sick")
    wait_for(lambda: engine.field("box", "{{.State.Health.Status}}") == "unhealthy")
    assert starts(engine, "box") == 3


def test_without_a_health_check_it_is_refused(engine: Engine) -> None:
    done = engine.cli("create", "--restart-unhealthy", "busybox", "true")
    assert done.returncode == 1
    assert "--restart-unhealthy needs a health check" in done.stderr


def test_restart_keeps_a_container_that_is_to_be_removed_at_its_end(engine: Engine) -> None:
    engine.ok("run", "-d", "--rm", "--name", "box", "busybox", "sleep", "1000")
    engine.ok("restart", "-t", "0", "box")
    assert engine.field("box", "{{.State.Status}}") == "running"
    engine.ok("stop", "-t", "0", "box")
    wait_for(lambda: engine.cli("inspect", "box").returncode == 1)
