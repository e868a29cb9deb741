"""Debian's skopeo and buildah: images in and out of the engine (``docker-daemon:``), and by a registry."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import need
from tests.engines import Engine
from tools.registry import Registry

pytestmark = pytest.mark.root

Run = Callable[..., str]
DOCKERFILE = """
FROM docker-daemon:busybox:latest
ENV MADE_BY=buildah
RUN echo built > /made
CMD ["cat", "/made"]
"""


@pytest.fixture
def run(engine: Engine, tmp_path: Path) -> Run:
    """Runs a program with the engine's socket where programs look that can't be told of another."""
    there = 'mount -t tmpfs tmpfs /run && ln -s "$0" /run/docker.sock && exec "$@"'
    place = [need("unshare"), "--mount", "sh", "-c", there, engine.socket]

    def started(*command: str) -> str:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(
            [*place, need(command[0]), *command[1:]],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    return started


def image_id(engine: Engine, name: str) -> str:
    return engine.ok("image", "inspect", "-f", "{{.Id}}", name)


@pytest.mark.parametrize("between", ["dir:there", "oci:there:1"])
def test_skopeo_takes_an_image_out_and_brings_it_back(engine: Engine, run: Run, between: str) -> None:
    engine.ok("build", "-t", "skopeo/out:1", "-", stdin="FROM busybox\nLABEL of=ours\nCMD echo from skopeo\n")
    before = image_id(engine, "skopeo/out:1")
    shown = json.loads(run("skopeo", "inspect", "docker-daemon:skopeo/out:1"))
    assert shown["Labels"] == {"of": "ours"}

    run("skopeo", "copy", "docker-daemon:skopeo/out:1", between)
    engine.ok("rmi", "skopeo/out:1")
    run("skopeo", "copy", between, "docker-daemon:skopeo/back:2")

    assert engine.ok("run", "--rm", "skopeo/back:2") == "from skopeo"
    inspected = json.loads(run("skopeo", "inspect", "--config", "docker-daemon:skopeo/back:2"))
    assert inspected["config"]["Labels"] == {"of": "ours"}
    # On its way to an OCI layout skopeo writes the configuration anew.
    assert (image_id(engine, "skopeo/back:2") == before) == between.startswith("dir:")
    engine.ok("rmi", "skopeo/back:2")


def test_skopeo_between_the_engine_and_a_registry(engine: Engine, run: Run, registry: Registry) -> None:
    name = f"{registry.address}/skopeo/there:1"
    run("skopeo", "copy", "--dest-tls-verify=false", "docker-daemon:busybox:latest", f"docker://{name}")
    engine.ok("pull", name)
    assert image_id(engine, name) == image_id(engine, "busybox")
    engine.ok("tag", name, f"{registry.address}/skopeo/again:1")
    engine.ok("push", f"{registry.address}/skopeo/again:1")
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{registry.address}/skopeo/again:1", "dir:copied")
    engine.ok("rmi", name, f"{registry.address}/skopeo/again:1")


def test_buildah_builds_on_the_engines_image_and_gives_it_the_result(engine: Engine, run: Run, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    storage = (f"--root={tmp_path}/storage", f"--runroot={tmp_path}/run", "--storage-driver=vfs")
    run("buildah", *storage, "build", "--isolation=chroot", "--pull-never=false", "-t", "made", ".")
    run("buildah", *storage, "push", "made", "docker-daemon:buildah/made:3")
    assert engine.ok("run", "--rm", "buildah/made:3") == "built"
    assert "MADE_BY=buildah" in engine.field("buildah/made:3", "{{.Config.Env}}")
    run("buildah", *storage, "rmi", "-a", "-f")
    engine.ok("rmi", "buildah/made:3")
