"""Images that go by themselves: the key ``gc`` of the configuration file."""

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engines import Engine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def layer(path: Path, size: int) -> str:
    file = path.with_suffix(".data")
    file.write_bytes(os.urandom(size))
    with tarfile.open(path, "w") as archive:
        archive.add(file, arcname="data")
    return str(path)


@pytest.fixture
def policy(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    settings = tmp_path / "daemon.json"
    settings.write_text(json.dumps({"gc": request.param}))
    engine = Engine(["--config-file", str(settings)]).start()
    try:
        yield engine
    finally:
        engine.stop()


def images(engine: Engine) -> set[str]:
    return set(engine.ok("images", "-aq", "--no-trunc").split())


def actions(engine: Engine) -> list[str]:
    seen = engine.ok("events", "--since", "1h", "--until", "0s", "--filter", "type=image", "--format", "{{.Action}}")
    return seen.split()


def blobs(engine: Engine) -> int:
    return len(list(Path(engine.layout.content, "blobs", "sha256").iterdir()))


@pytest.mark.parametrize("policy", [{"unused-for": "1s"}], indirect=True)
def test_unnamed_images_go_when_no_container_uses_them(policy: Engine, tmp_path: Path) -> None:
    archive = layer(tmp_path / "one.tar", 1000)
    used = policy.ok("import", archive)
    policy.ok("create", "--name", "user", used, "/x")
    named = policy.ok("import", layer(tmp_path / "two.tar", 1000), "named:1")
    unused = policy.ok("import", layer(tmp_path / "three.tar", 1000))
    wait_for(lambda: unused not in images(policy), 30)
    assert images(policy) == {used, named}
    policy.ok("rm", "user")
    wait_for(lambda: used not in images(policy), 30)
    assert images(policy) == {named}
    assert blobs(policy) == 3  # layer, config, manifest
    wait_for(lambda: actions(policy).count("delete") == 2)


@pytest.mark.parametrize("policy", [{"keep-storage": "5MB", "tagged": True}], indirect=True)
def test_the_longest_unused_go_until_there_is_room(policy: Engine, tmp_path: Path) -> None:
    a, bb = (policy.ok("import", layer(tmp_path / f"{name}.tar", 1 << 20), f"{name}:1") for name in ("a", "bb"))
    policy.ok("tag", "a:1", "again:1")
    # Each takes a mebibyte as files and one as a blob: two fit.
    ccc = policy.ok("import", layer(tmp_path / "ccc.tar", 1 << 20), "ccc:1")
    wait_for(lambda: bb not in images(policy), 30)
    assert images(policy) == {a, ccc}
