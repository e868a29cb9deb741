"""``prune`` of everything there is, with its flags: what goes, and what is kept."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.e2e.conftest import Client
from tests.engines import Engine, succeeded
from tests.store import walk_store
from tools.registry import Registry


@pytest.fixture(autouse=True)
def tidy(engine: Engine) -> None:
    """Nothing of an earlier test is there to be pruned."""
    engine.ok("network", "prune", "--force")
    engine.ok("volume", "prune", "--all", "--force")
    engine.ok("builder", "prune", "--all", "--force")


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    return Context(engine, tmp_path / "context")


def test_containers(client: Client) -> None:
    engine = client.engine
    engine.ok("create", "--name", "old", "--label", "kind=old", "busybox", "true")
    engine.ok("create", "--name", "new", "busybox", "true")
    engine.ok("run", "-d", "--name", "live", "--label", "kind=old", "busybox", "sleep", "1000")
    assert "0B" in client.ok("container", "prune", "--force", "--filter", "until=24h")
    client.ok("container", "prune", "--force", "--filter", "label=kind=old")
    assert sorted(engine.ok("ps", "-a", "--format", "{{.Names}}").split()) == ["live", "new"]
    client.ok("container", "prune", "--force", "--filter", "label!=kind=old")
    assert engine.ok("ps", "-a", "--format", "{{.Names}}") == "live"
    refused = client("container", "prune", "--force", "--filter", "color=red")
    assert refused.returncode == 1
    assert "invalid filter 'color'" in refused.stderr


def test_networks(client: Client) -> None:
    engine = client.engine
    engine.ok("network", "create", "--label", "kind=old", "one")
    engine.ok("network", "create", "two")
    assert not client.ok("network", "prune", "--force", "--filter", "until=24h")
    assert client.ok("network", "prune", "--force", "--filter", "label=kind") == "Deleted Networks:\none"
    assert client.ok("network", "prune", "--force") == "Deleted Networks:\ntwo"


def test_volumes(client: Client) -> None:
    engine = client.engine
    engine.ok("volume", "create", "named")
    engine.ok("volume", "create", "--label", "kind=old", "marked")
    engine.ok("create", "--name", "box", "-v", "/data", "busybox", "true")
    engine.ok("rm", "box")
    assert len(engine.ok("volume", "ls", "-q").split()) == 3
    if not client.older:  # it knows no --all, and asks as before there was one
        client.ok("volume", "prune", "--force")
        assert sorted(engine.ok("volume", "ls", "-q").split()) == ["marked", "named"]
        client.ok("volume", "prune", "--force", "--all", "--filter", "label!=kind")
    else:
        client.ok("volume", "prune", "--force", "--filter", "label!=kind=old")
    assert engine.ok("volume", "ls", "-q") == "marked"
    more = () if client.older else ("--all",)
    client.ok("volume", "prune", "--force", *more, "--filter", "label=kind=old")
    assert engine.ok("volume", "ls", "-q") == ""


def test_images(client: Client, context: Context) -> None:
    engine = client.engine
    for name in ("one", "two"):
        context.dockerfile(f"FROM busybox\nLABEL kind={name}\n").ok("-t", f"prune-{name}")
    engine.ok("rmi", "--no-prune", "prune-one")
    assert "Total reclaimed space: 0B" in client.ok("image", "prune", "--force", "--filter", "until=24h")
    client.ok("image", "prune", "--all", "--force", "--filter", "label=kind=one")
    assert "prune-two" in engine.ok("images", "--format", "{{.Repository}}").split()
    client.ok("image", "prune", "--all", "--force", "--filter", "label=kind=two")
    assert "prune-two" not in engine.ok("images", "--format", "{{.Repository}}").split()


def test_the_beginnings_of_downloads(client: Client) -> None:
    left = Path(client.engine.layout.root) / "content/ingest/left.part"
    left.write_bytes(bytes(12_345))
    client.ok("image", "prune", "--force", "--filter", "label=x")
    client.ok("image", "prune", "--force", "--filter", "until=1h")
    assert left.exists()
    shown = client.ok("image", "prune", "--force")
    assert not left.exists()
    # Docker's command line names the space only where an image went.
    assert client.official or "Total reclaimed space: 12.35kB" in shown


def test_an_image_in_use_keeps_the_names_that_its_containers_know(client: Client, context: Context) -> None:
    """Its other names go with ``--all``, as with Docker; the image stays."""
    engine = client.engine
    context.dockerfile("FROM busybox\nLABEL kind=used\n").ok("-t", "used:a")
    found = engine.ok("images", "-q", "--no-trunc", "used:a")
    engine.ok("tag", "used:a", "used:b")
    engine.ok("tag", "used:a", "used:z")
    engine.ok("create", "--name", "by-name", "used:a", "true")
    engine.ok("create", "--name", "mounts", "--mount", "type=image,source=used:b,target=/x", "busybox", "true")
    shown = client.ok("image", "prune", "--all", "--force", "--filter", "label=kind=used").lower()
    assert "untagged: used:z" in shown
    assert "deleted: " not in shown
    assert sorted(engine.ok("images", "--format", "{{.Tag}}", "used").split()) == ["a", "b"]
    engine.ok("rm", "by-name", "mounts")
    engine.ok("create", "--name", "by-id", found, "true")
    client.ok("image", "prune", "--all", "--force", "--filter", "label=kind=used")
    assert engine.ok("images", "--format", "{{.Tag}}", "used") == "b"
    engine.ok("rm", "by-id")
    engine.ok("rmi", "used:b")


def test_an_image_whose_tag_is_another_s_now(client: Client, context: Context, registry: Registry) -> None:
    """What is left of it is the digest that it had in a registry: no name that keeps it, as with Docker."""
    engine = client.engine
    name = f"{registry.address}/moved-{len(client.program)}:1"
    images = []
    for number in ("1", "2"):
        context.dockerfile(f"FROM busybox\nLABEL moved={number}\n").ok("-t", name)
        engine.ok("push", name)
        images.append(engine.ok("images", "-q", "--no-trunc", name))
    digest = engine.ok("image", "inspect", "-f", "{{index .RepoDigests 0}}", images[0])
    shown = client.ok("image", "prune", "--force").lower()
    assert f"untagged: {digest}" in shown and f"deleted: {images[0]}" in shown
    assert images[0] not in engine.ok("images", "-aq", "--no-trunc")
    assert engine.ok("images", "-q", "--no-trunc", name) == images[1]
    engine.ok("rmi", name)


def test_several_prunes_and_removals_at_once(client: Client, context: Context) -> None:
    """Each takes what is left to take; none fails because another was quicker."""
    engine = client.engine
    names = [f"crowd-{number}" for number in range(12)]
    for name in names:
        context.dockerfile(f"FROM busybox\nLABEL crowd={name}\n").ok("-t", name)
        engine.ok("tag", name, f"{name}:other")
    prune = client.command("image", "prune", "--all", "--force", "--filter", "label=crowd")
    with ThreadPoolExecutor(5) as pool:
        prunes = [pool.submit(engine.run_command, prune) for _ in range(3)]
        removals = [pool.submit(client, "rmi", *order) for order in (names, names[::-1])]
    for done in prunes:
        assert succeeded(done.result()).count("Total reclaimed space: ") == 1
    for done in removals:
        assert not done.result().stderr.replace("No such image", "").count("internal error")
    assert "crowd" not in engine.ok("images", "--format", "{{.Repository}}")
    walk_store(engine)


def _steps(engine: Engine) -> int:
    return engine.ok("builder", "du").count(" true ")


def test_a_build_s_cache(engine: Engine, context: Context) -> None:
    context.dockerfile(
        "FROM busybox\nRUN head -c 100000 /dev/urandom > /a\nRUN head -c 100000 /dev/urandom > /b\nRUN true\n"
    )
    context.ok("-t", "t")
    engine.ok("rmi", "--no-prune", "t")
    assert _steps(engine) == 2
    engine.ok("builder", "prune", "--force", "--filter", "until=24h")
    engine.ok("builder", "prune", "--force", "--filter", "inuse=true")
    engine.ok("builder", "prune", "--force", "--filter", "shared=true")
    engine.ok("builder", "prune", "--force", "--filter", "label=none")
    engine.ok("builder", "prune", "--force", "--max-used-space", "10g")
    engine.ok("builder", "prune", "--force", "--min-free-space", "1")
    engine.ok("builder", "prune", "--force", "--keep-storage", "10g")
    assert _steps(engine) == 2
    engine.ok("builder", "prune", "--force", "--max-used-space", "150k")
    assert _steps(engine) == 1
    everything = str(shutil.disk_usage("/").total * 1000)
    engine.ok("builder", "prune", "--force", "--min-free-space", everything, "--reserved-space", "1g")
    assert _steps(engine) == 1
    engine.ok("builder", "prune", "--force", "--min-free-space", everything)
    assert _steps(engine) == 0


def test_system(client: Client, context: Context) -> None:
    engine = client.engine
    context.dockerfile("FROM busybox\nRUN head -c 1000 /dev/urandom > /a\n").ok("-t", "spare")
    engine.ok("create", "--name", "old", "--label", "kind=old", "-v", "/data", "busybox", "true")
    engine.ok("run", "-d", "--name", "live", "busybox", "sleep", "1000")
    engine.ok("network", "create", "net")
    client.ok("system", "prune", "--force", "--filter", "label=kind=none")
    assert engine.ok("ps", "-aq", "--filter", "name=old")
    assert engine.ok("network", "ls", "-q", "--filter", "name=net")
    shown = client.ok("system", "prune", "--force", "--volumes")
    assert "Deleted Containers:" in shown
    assert "Deleted Volumes:" in shown
    assert "Deleted Networks:\nnet" in shown
    assert engine.ok("images", "-q", "spare")
    client.ok("system", "prune", "--all", "--force")
    assert engine.ok("images", "-q", "spare") == ""
    assert engine.ok("ps", "--format", "{{.Names}}") == "live"
    assert engine.ok("images", "-q", "busybox")
    refused = client("system", "prune", "--force", "--volumes", "--filter", "until=24h")
    assert 'The "until" filter is not supported with "--volumes"' in refused.stderr
