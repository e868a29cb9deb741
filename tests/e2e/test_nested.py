"""Root's engine in a container: of another engine of ours, and of Docker's."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import lacking, need
from tests.dockerd import running_dockerd
from tests.engines import Done, Engine
from tests.rootless import install

UNCONFINED = ("--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined")
FORBIDDEN = "user namespaces are forbidden here"


@pytest.fixture(scope="module")
def site(busybox_tar: Path) -> Iterator[Path]:
    """Rundlet as it is installed, an image, and a script that uses both in a container."""
    with tempfile.TemporaryDirectory(prefix="rl-nested-", dir="/tmp") as name:
        directory = Path(name)
        python = install(directory)
        if not os.path.realpath(python).startswith("/usr/"):
            lacking("Python below /usr")
        (directory / "box.tar").write_bytes(busybox_tar.read_bytes())
        rundlet = f"{python} -m rundlet"
        (directory / "script").write_text(
            f"{rundlet} import {directory}/box.tar box >/dev/null || exit 9\n"
            f"{rundlet} info -f 'driver={{{{.Driver}}}}'\n"
            f"{rundlet} run --rm box echo from-inside && {rundlet} run --rm --network host box echo on-its-network\n"
            f"code=$?\n{rundlet} engine stop >/dev/null\nexit $code\n"
        )
        yield directory


def arguments(site: Path, options: tuple[str, ...], command: str = "") -> list[str]:
    mounts = [f"{site}:{site}:ro", "/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro"]
    flags = [word for mount in mounts for word in ("-v", mount)]
    return ["run", "--rm", *options, *flags, "busybox", *(command.split() or ("sh", f"{site}/script"))]


@pytest.mark.parametrize(
    ("options", "driver"),
    [
        (("--privileged",), "vfs"),
        (("--privileged", "-v", "/var/lib/rundlet"), "overlay2"),
        (UNCONFINED, "vfs"),
        (("--userns=auto", *UNCONFINED), "vfs"),
    ],
    ids=["privileged", "privileged-with-a-volume", "unconfined", "users-of-its-own"],
)
def test_an_engine_in_a_container(engine: Engine, site: Path, options: tuple[str, ...], driver: str) -> None:
    done = engine.cli(*arguments(site, options), timeout=180)
    assert done.stdout.split() == [f"driver={driver}", "from-inside", "on-its-network"], done.stderr


def test_what_forbids_it_is_named(engine: Engine, site: Path) -> None:
    done = engine.cli(*arguments(site, ()), timeout=180)
    assert done.returncode == 9
    assert FORBIDDEN in done.stderr
    assert "--security-opt seccomp=unconfined, or --privileged" in done.stderr


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--privileged",), {}),
        (UNCONFINED, {"cgroups": "--privileged"}),
        (UNCONFINED[:2], {"cgroups": "--privileged", "/proc/sys": "systempaths=unconfined"}),
        ((), {"/proc/sys": "systempaths=unconfined", "user namespaces": "seccomp=unconfined"}),
    ],
    ids=["privileged", "unconfined", "seccomp-unconfined", "default"],
)
def test_the_doctor_in_a_container(
    engine: Engine, site: Path, options: tuple[str, ...], wanted: dict[str, str]
) -> None:
    """Its remedies are what makes an engine work there."""
    found = findings(engine.cli(*arguments(site, options, f"{site}/venv/bin/python -m rundlet system doctor --json")))
    for name in ("cgroups", "/proc/sys", "user namespaces"):
        if name in wanted:
            assert wanted[name] in found[name]["remedy"]
        elif options == ("--privileged",):
            assert found.get(name, {"state": "ok"})["state"] == "ok"


def findings(done: Done) -> dict[str, dict[str, str]]:
    return {item["name"]: item for item in json.loads(done.stdout)}


def test_an_engine_in_a_container_of_dockers(site: Path) -> None:
    docker = need("docker")
    with running_dockerd(docker) as (host, _directory):
        subprocess.run(
            [docker, "-H", host, "import", str(site / "box.tar"), "busybox"], check=True, capture_output=True
        )
        for options, wanted in (
            (UNCONFINED, "from-inside"),
            (UNCONFINED[:2], "start that container with --security-opt systempaths=unconfined, or --privileged"),
            ((), FORBIDDEN),
        ):
            command = [docker, "-H", host, *arguments(site, ("--network=none", *options))]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
            assert wanted in done.stdout + done.stderr, options
