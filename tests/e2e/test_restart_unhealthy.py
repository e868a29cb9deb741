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


def test_a_restart_that_an_end_of_the_engine_cuts_off_is_seen_through(engine: Engine) -> None:
    # The container takes notice of the signal and stays, so that the engine is killed in the middle of its stop.
    script = "echo started; trap 'echo asked' TERM; while :; do sleep 0.05; done"
    engine.ok("run", "-d", "--rm", "--name", "box", "--stop-timeout", "1", "busybox", "sh", "-c", script)
    wait_for(lambda: starts(engine, "box") == 1)
    restarting = engine.popen("restart", "-t", "1000", "box")
    wait_for(lambda: "asked" in engine.ok("logs", "box"))
    first = engine.kill()
    restarting.communicate(timeout=60)
    engine.wait_for_successor(first)
    # It begins anew, with another signal and the container's own patience.
    wait_for(lambda: engine.ok("logs", "box").count("asked") == 2)
    wait_for(lambda: starts(engine, "box") == 2)
    wait_for(lambda: engine.field("box", "{{.State.Status}}") == "running")


def test_a_restart_of_an_unhealthy_container_that_is_cut_off_is_seen_through(engine: Engine) -> None:
    script = "echo started; trap 'echo asked' TERM; while :; do sleep 0.05; done"
    sick = ("--health-cmd", "false", "--health-interval", "100ms", "--health-retries", "1", "--restart-unhealthy")
    engine.ok("run", "-d", "--name", "box", "--stop-timeout", "3", *sick, "busybox", "sh", "-c", script)
    wait_for(lambda: "asked" in engine.ok("logs", "box"))
    engine.wait_for_successor(engine.kill())
    wait_for(lambda: starts(engine, "box") >= 2)
