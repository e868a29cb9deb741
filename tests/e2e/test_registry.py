"""push and pull against a real registry, and against ones that lie."""

import base64
import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Client
from tests.e2e.lying_registry import LyingRegistry, lying_registry
from tests.engines import Engine
from tests.store import walk_store
from tools.registry import PASSWORD, USER, Registry


def test_push_then_pull_gives_the_same_image(client: Client, registry: Registry) -> None:
    name = f"{registry.address}/team/app:v1"
    client.ok("tag", "busybox", name)
    pushed = client.ok("push", name)
    digest = re.search(r"v1: digest: (sha256:[0-9a-f]{64}) size: \d+", pushed)
    assert digest, pushed
    identity = client.ok("inspect", "-f", "{{.Id}}", name)
    client.ok("rmi", name)
    pulled = client.ok("pull", name)
    assert f"Digest: {digest[1]}" in pulled
    assert pulled.splitlines()[-1] == name
    assert client.ok("inspect", "-f", "{{.Id}}", name) == identity
    assert client.ok("run", "--rm", name, "echo", "pulled") == "pulled"
    assert f"Status: Image is up to date for {name}" in client.ok("pull", name)
    client.ok("rmi", name)


def test_a_layer_that_is_here_in_another_compression(
    engine: Engine, registry: Registry, busybox_tar: Path, scratch: Path
) -> None:
    """Its files are not unpacked again, but the pulled image can be saved and pushed as it is."""
    name, packed = f"{registry.address}/other/gzip:1", scratch / "packed.tar.gz"
    packed.write_bytes(gzip.compress(busybox_tar.read_bytes(), 9))
    engine.ok("import", "-c", "LABEL other=1", str(packed), name)
    engine.ok("push", "-q", name)
    engine.ok("rmi", name)
    assert "Already exists" in engine.ok("pull", name)
    engine.ok("save", "-o", str(scratch / "saved.tar"), name)
    engine.ok("tag", name, f"{registry.address}/elsewhere")
    engine.ok("push", "-q", f"{registry.address}/elsewhere")
    engine.ok("rmi", name, f"{registry.address}/elsewhere")


def test_pull_by_digest(client: Client, registry: Registry) -> None:
    name = f"{registry.address}/by/digest"
    client.ok("tag", "busybox", name)
    pushed = client.ok("push", name)
    digest = re.findall(r"sha256:[0-9a-f]{64}", pushed)[-1]
    client.ok("rmi", name)
    client.ok("pull", f"{name}@{digest}")
    assert client.ok("run", "--rm", f"{name}@{digest}", "echo", "yes") == "yes"
    client.ok("rmi", f"{name}@{digest}")


def test_every_tag_of_a_repository(client: Client, registry: Registry) -> None:
    name = f"{registry.address}/many/tags"
    tags = [f"{name}:{tag}" for tag in ("one", "two")]  # and none that is "latest"
    for tag in tags:
        client.ok("tag", "busybox", tag)
        client.ok("push", tag)
    client.ok("rmi", *tags)
    client.ok("pull", "-a", name)
    client.ok("rmi", *tags)


def test_run_pulls_what_is_missing(client: Client, registry: Registry) -> None:
    name = f"{registry.address}/auto/pulled:1"
    client.ok("tag", "busybox", name)
    client.ok("push", "-q", name)
    client.ok("rmi", name)
    done = client("run", "--rm", name, "echo", "ran")
    assert done.stdout == "ran\n"
    assert f"Unable to find image '{name}' locally" in done.stderr
    client.ok("rmi", name)


def test_pull_policy_never(client: Client, registry: Registry) -> None:
    done = client("run", "--rm", "--pull", "never", f"{registry.address}/not/here", "true")
    assert done.returncode == 125
    assert "No such image" in done.stderr


def test_quiet_pull_prints_the_name_only(client: Client, registry: Registry) -> None:
    name = f"{registry.address}/quiet/one:latest"
    client.ok("tag", "busybox", name)
    client.ok("push", "-q", name)
    client.ok("rmi", name)
    assert client.ok("pull", "-q", name) == name
    client.ok("rmi", name)


def test_an_unknown_tag_and_repository(client: Client, registry: Registry) -> None:
    done = client("pull", f"{registry.address}/no/such:thing")
    assert done.returncode == 1
    assert "not found" in done.stderr or "manifest unknown" in done.stderr
    assert client("images", "-q", f"{registry.address}/no/such").stdout == ""


def test_an_unreachable_registry(client: Client, port: int) -> None:
    done = client("pull", f"127.0.0.1:{port}/no/registry")
    assert done.returncode == 1
    assert "connection refused" in done.stderr.lower()


def test_a_registry_with_a_password(engine: Engine, private_registry: Registry) -> None:
    name = f"{private_registry.address}/private/app:1"
    engine.ok("tag", "busybox", name)
    done = engine.docker("push", name)
    assert done.returncode == 1
    assert "no basic auth credentials" in done.stderr or "unauthorized" in done.stderr.lower()
    written = Path(engine.directory, "docker-config")
    written.mkdir(exist_ok=True)
    (written / "config.json").write_text(_docker_config(private_registry.address))
    try:
        engine.docker_ok("push", name)
        engine.ok("rmi", name)
        engine.ok("pull", name)
        engine.ok("rmi", name)
        engine.docker_ok("pull", name)
    finally:
        (written / "config.json").unlink()
        engine.cli("rmi", name)


def _docker_config(address: str) -> str:
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    return json.dumps({"auths": {address: {"auth": secret}}})


@pytest.fixture
def liar() -> Iterator[LyingRegistry]:
    with lying_registry() as running:
        yield running


LIES = [
    ("layer-content", "digest|verification"),
    ("layer-truncated", "EOF|truncated|verification|closed|size|digest|payload"),
    ("layer-longer", "size|verification|digest|length"),
    ("layer-not-gzip", "gzip|header|corrupt|invalid|verification|unexpected|tar"),
    ("layer-broken-gzip", "gzip|corrupt|truncated|invalid|EOF|unexpected|deflate|error|ended"),
    ("layer-wrong-diff-id", "diff|digest|verification|mismatch|layers from manifest"),
    ("layer-broken-tar", "tar|header|corrupt|invalid|checksum"),
    ("config-content", "digest|verification"),
    ("manifest-nonsense", "manifest|unsupported|invalid|decode|unknown|verification"),
    ("manifest-digest", "digest|verification"),
]


@pytest.mark.parametrize(("lie", "says"), LIES)
def test_a_registry_that_lies(engine: Engine, liar: LyingRegistry, lie: str, says: str) -> None:
    name = liar.image(lie)
    done = engine.cli("pull", name)
    assert done.returncode == 1, done.stdout
    assert re.search(says, done.stderr, re.IGNORECASE), done.stderr
    assert "Traceback" not in done.stderr
    assert engine.ok("images", "-q", name.partition("@")[0].rpartition(":")[0]) == ""
    assert not list(Path(engine.layout.content).glob("ingest/*/*")), "half-made content is left"
    # And it does not spoil the truth: the honest image of the same layers still comes.
    honest = liar.image("none")
    engine.ok("pull", honest)
    assert engine.ok("run", "--rm", honest, "cat", "/hello") == "hello"
    walk_store(engine)
    engine.ok("rmi", honest)


def test_a_registry_is_told_who_asks(client: Client, liar: LyingRegistry) -> None:
    name = liar.image("none")
    client.ok("pull", name)
    asked = r"docker/28\.5\.2\+rundlet\S+ kernel/\S+ os/linux arch/\S+ UpstreamClient\((.*)\)"
    found = {match and match[1] for match in (re.fullmatch(asked, agent) for agent in liar.agents)}
    assert len(found) == 1, liar.agents
    assert re.fullmatch(r"Docker-Client/\S+ \\\(linux\\\)" if client.official else "Rundlet-Client", found.pop() or "")
    client.ok("rmi", name)


HOSTILE = [
    "parent-directory",
    "absolute-name",
    "symlink-then-file",
    "hardlink-outside",
    "device-node",
    "whiteout-outside",
]


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_layer_cannot_write_outside_its_root(engine: Engine, liar: LyingRegistry, tmp_path: Path, trick: str) -> None:
    marker = Path("/tmp") / f"rundlet-escape-{tmp_path.name}"
    name = liar.hostile(trick, str(marker))
    engine.cli("pull", name)
    assert not os.path.lexists(marker)
    assert Path("/etc/passwd").exists()
    engine.cli("rmi", "-f", name)
    walk_store(engine)


def test_an_image_with_a_poisoned_python_and_name_service(engine: Engine, liar: LyingRegistry, tmp_path: Path) -> None:
    """Nothing of the image is run or imported by the shim, init or exec, as root outside or inside."""
    name = liar.poisoned()
    engine.ok("pull", name)
    done = engine.cli("run", "--rm", "-u", "app", "-e", "PYTHONPATH=/poison", name, "sh", "-c", "id -u; ls /")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1000"
    assert "poisoned" not in done.stdout + done.stderr
    engine.ok("run", "-d", "--name", "victim", name, "sleep", "100")
    assert "poisoned" not in engine.ok("exec", "-u", "app", "victim", "ls", "/")
    engine.ok("rm", "-f", "victim")
    engine.ok("rmi", name)
