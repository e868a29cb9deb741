"""docker-compose 1.29.2 as Debian has it: a web application with a second service, from an empty directory to nothing.

It speaks through an old docker-py, and through the docker command line for builds.
"""

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import docker_programs, need
from tests.engines import Engine, wait_for

pytestmark = pytest.mark.root

PROJECT = """
version: "2.4"
services:
  web:
    build: {context: ., args: {WORD: "%(word)s"}}
    ports: ["127.0.0.1:%(port)d:8000"]
    environment: {GREETING: hello}
    depends_on: {store: {condition: service_healthy}}
    networks: [front, back]
  store:
    image: busybox
    command: ["sh", "-c", "echo kept > /data/index.html; exec httpd -f -p 5432 -h /data"]
    volumes: ["data:/data"]
    networks: {back: {aliases: [database]}}
    healthcheck: {test: ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:5432/"], interval: 1s, retries: 20}
networks: {front: {}, back: {}}
volumes: {data: {}}
"""
DOCKERFILE = """
FROM busybox
ARG WORD
WORKDIR /srv
COPY index.html .
RUN echo "built with $WORD" > built.html
CMD ["sh", "-c", "echo serving; exec httpd -f -p 8000 -h /srv"]
"""
Compose = Callable[..., str]


@pytest.fixture
def compose(engine: Engine, tmp_path: Path, port: int) -> Iterator[Compose]:
    program = need("docker-compose")
    docker = (docker_programs() or [""])[0] or need("docker")
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "docker-compose.yml").write_text(PROJECT % {"word": "care", "port": port})
    (directory / "Dockerfile").write_text(DOCKERFILE)
    (directory / "index.html").write_text("it works\n")
    environment = engine.environment({"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "1"})
    environment["PATH"] = f"{os.path.dirname(docker)}:{os.environ['PATH']}"
    del environment["PYTHONPATH"]

    def run(*words: str) -> str:
        done = subprocess.run(
            [program, "--no-ansi", *words],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-300:]}"
        return done.stdout

    yield run
    run("down", "-v", "--rmi", "local", "-t", "0")


def fetch(port: int, path: str = "") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def test_a_web_application_with_a_store(engine: Engine, compose: Compose, port: int) -> None:
    compose("up", "-d")
    # It waited for the store to be healthy before it started the other.
    assert engine.field("shop_store_1", "{{.State.Health.Status}}") == "healthy"
    wait_for(lambda: "it works" in fetch(port), 10)
    assert fetch(port, "built.html") == "built with care\n"
    assert compose("exec", "-T", "web", "wget", "-q", "-O", "-", "http://database:5432/") == "kept\n"
    assert compose("exec", "-T", "web", "sh", "-c", "echo $GREETING") == "hello\n"
    assert "serving" in compose("logs", "web")
    assert f"127.0.0.1:{port}->8000/tcp" in compose("ps")
    assert "httpd" in compose("top", "store")
    networks = json.loads(engine.ok("inspect", "-f", "{{json .NetworkSettings.Networks}}", "shop_web_1"))
    assert set(networks) == {"shop_front", "shop_back"}


def test_scale_run_restart_stop_and_down(engine: Engine, compose: Compose, port: int) -> None:
    compose("up", "-d")
    compose("up", "-d", "--scale", "store=3")
    assert len(engine.ok("ps", "-q", "--filter", "label=com.docker.compose.service=store").split()) == 3
    assert compose("run", "--rm", "-T", "web", "echo", "ran") == "ran\n"
    compose("restart", "-t", "0", "web")
    wait_for(lambda: engine.field("shop_web_1", "{{.State.Running}}") == "true", 10)
    compose("pause", "web")
    compose("unpause", "web")
    compose("stop", "-t", "0", "store")
    assert "Exit" in compose("ps")
    compose("start", "store")
    compose("kill", "web")
    compose("rm", "-f", "web")
    compose("down", "-v", "-t", "0")
    assert engine.ok("ps", "-aq") == ""
    assert "shop" not in engine.ok("network", "ls") + engine.ok("volume", "ls")


def test_a_change_makes_only_the_changed_service_anew(engine: Engine, compose: Compose, tmp_path: Path) -> None:
    compose("up", "-d")
    before = engine.field("shop_store_1", "{{.Id}}"), engine.field("shop_web_1", "{{.Id}}")
    file = tmp_path / "shop" / "docker-compose.yml"
    file.write_text(file.read_text().replace("GREETING: hello", "GREETING: good day"))
    compose("up", "-d", "-t", "0")
    assert engine.field("shop_store_1", "{{.Id}}") == before[0]
    assert engine.field("shop_web_1", "{{.Id}}") != before[1]
    assert compose("exec", "-T", "web", "sh", "-c", "echo $GREETING") == "good day\n"


def test_what_an_images_volume_holds_is_kept_when_a_service_is_made_anew(
    engine: Engine, compose: Compose, tmp_path: Path
) -> None:
    directory = tmp_path / "shop"
    with (directory / "Dockerfile").open("a") as file:
        file.write("VOLUME /kept\n")
    compose("up", "-d")
    compose("exec", "-T", "web", "sh", "-c", "echo precious > /kept/word")
    project = directory / "docker-compose.yml"
    project.write_text(project.read_text().replace("GREETING: hello", "GREETING: good day"))
    compose("up", "-d", "-t", "0")
    assert compose("exec", "-T", "web", "cat", "/kept/word") == "precious\n"
