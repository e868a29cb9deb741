"""The environment's ``DOCKER_…`` variables and config.json's keys, seen in what the engine makes."""

import json
from pathlib import Path

from tests.e2e.conftest import Client
from tests.engines import Done


def run(client: Client, *arguments: str, **variables: str) -> Done:
    return client.engine.run_command(client.command(*arguments), env=variables)


def test_proxies_reach_the_container(client: Client, tmp_path: Path) -> None:
    settings = {"httpProxy": "http://proxy:3128", "noProxy": "*.inside"}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": settings}}))
    done = run(client, "run", "--rm", "-e", "no_proxy=mine", "busybox", "env", DOCKER_CONFIG=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {
        "HTTP_PROXY=http://proxy:3128",
        "http_proxy=http://proxy:3128",
        "NO_PROXY=*.inside",
        "no_proxy=mine",
    } <= set(done.stdout.splitlines())
    assert "PROXY" not in client.ok("run", "--rm", "busybox", "env").upper()


def test_the_default_platform(client: Client) -> None:
    wanted = {"DOCKER_DEFAULT_PLATFORM": "linux/arm64"}
    done = run(client, "run", "--rm", "--pull", "never", "busybox", "true", **wanted)
    assert done.returncode == 125
    assert "does not match the specified platform (linux/arm64)" in done.stderr
    assert run(client, "run", "--rm", "--platform=", "busybox", "true", **wanted).returncode == 0
    done = run(client, "create", "busybox", DOCKER_DEFAULT_PLATFORM="no-machine")
    assert (done.returncode, "unknown operating system or architecture" in done.stderr) == (1, True)
