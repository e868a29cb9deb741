"""``manifest``: ours and docker's command lines work on the same lists, with our registry as the place."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Client
from tests.engines import Engine
from tools.own_registry import OwnRegistry, own_registry


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path_factory.mktemp("own") / "root") as running:
        yield running


def push_images(engine: Engine, own: OwnRegistry, repository: str) -> list[str]:
    names = [f"{own.address}/{repository}/{word}:1" for word in ("one", "two")]
    for name in names:
        engine.ok("import", "-c", f"LABEL name={name}", str(_tar(engine)), name)
        engine.ok("push", "-q", name)
        engine.ok("rmi", name)
    return names


def _tar(engine: Engine) -> Path:
    path = engine.directory / "tiny.tar"
    path.write_bytes(bytes(10240))
    return path


def test_a_list_is_made_pushed_and_pulled(client: Client, engine: Engine, own: OwnRegistry) -> None:
    repository = f"list-{os.path.basename(client.program) or 'rundlet'}-{'old' if client.older else 'new'}"
    one, two = push_images(engine, own, repository)
    name = f"{own.address}/{repository}/both:1"
    insecure = ["--insecure"]
    assert client.ok("manifest", "create", *insecure, name, one, two) == f"Created manifest list {name}"
    refused = client("manifest", "create", *insecure, name, one)
    assert "refusing to amend an existing manifest list with no --amend flag" in refused.stderr
    client.ok("manifest", "annotate", name, two, "--arch", "arm64", "--variant", "v8")
    client.ok("manifest", "annotate", name, two, "--os", "linux", "--os-version", "7", "--os-features", "a,b")
    wrong = client("manifest", "annotate", name, two, "--arch", "z80")
    assert wrong.returncode == 1
    assert "unsupported os/arch combination: /z80" in wrong.stderr
    listed = json.loads(client.ok("manifest", "inspect", name))
    assert [item["platform"]["architecture"] for item in listed["manifests"]] == ["amd64", "arm64"]
    platform = listed["manifests"][1]["platform"]
    assert (platform["os"], platform["os.version"], platform["os.features"]) == ("linux", "7", ["a", "b"])
    pushed = client.ok("manifest", "push", "--purge", name)
    digest = pushed.splitlines()[-1]
    assert digest.startswith("sha256:")
    remote = json.loads(client.ok("manifest", "inspect", *insecure, name))
    assert remote["manifests"] == listed["manifests"]
    verbose = json.loads(client.ok("manifest", "inspect", "-v", *insecure, name))
    assert [item["Descriptor"]["platform"]["architecture"] for item in verbose] == ["amd64", "arm64"]
    assert f"Digest: {digest}" in engine.ok("pull", name)
    engine.ok("rmi", name)
    missing = client("manifest", "rm", name)
    assert missing.returncode == 1
    assert "No such manifest" in missing.stderr


def test_what_one_begins_the_other_ends(engine: Engine, own: OwnRegistry, docker_cli: str) -> None:
    one, two = push_images(engine, own, "shared")
    first, second = f"{own.address}/shared/ours:1", f"{own.address}/shared/theirs:1"
    engine.ok("manifest", "create", "--insecure", first, one, two)
    engine.ok("manifest", "annotate", first, two, "--arch", "arm64")
    theirs = json.loads(engine.docker_ok("manifest", "inspect", first, binary=docker_cli))
    assert theirs == json.loads(engine.ok("manifest", "inspect", first))
    begun = engine.docker_ok("manifest", "push", "--insecure", "--purge", first, binary=docker_cli).splitlines()[-1]
    engine.docker_ok("manifest", "create", "--insecure", second, one, two, binary=docker_cli)
    engine.docker_ok("manifest", "annotate", second, two, "--arch", "arm64", binary=docker_cli)
    assert engine.ok("manifest", "push", "--purge", second).splitlines()[-1] == begun


def test_what_is_not_there(engine: Engine, own: OwnRegistry) -> None:
    done = engine.cli("manifest", "inspect", "--insecure", f"{own.address}/no/such")
    assert (done.returncode, done.stderr.strip()) == (1, f"no such manifest: {own.address}/no/such:latest")
    done = engine.cli("manifest", "push", f"{own.address}/no/such:1")
    assert (done.returncode, done.stderr.strip()) == (1, f"No such manifest: {own.address}/no/such:1")
    done = engine.cli("manifest", "create", "--insecure", f"{own.address}/no/list:1", f"{own.address}/no/such:1")
    assert (done.returncode, done.stderr.strip()) == (1, f"no such manifest: {own.address}/no/such:1")


def test_plain_http_is_spoken_only_when_it_is_asked_for(client: Client, engine: Engine, own: OwnRegistry) -> None:
    one, _ = push_images(engine, own, "plain")
    for command in (("inspect", one), ("create", f"{own.address}/plain/list:1", one)):
        refused = client("manifest", *command)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"no such manifest: {one}")
        if not client.official:
            assert f"({own.address} speaks plain HTTP: --insecure allows it)" in refused.stderr
    assert json.loads(client.ok("manifest", "inspect", "--insecure", one))["schemaVersion"] == 2
