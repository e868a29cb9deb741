"""Mirrors of any registry: with a login of their own, where the registry itself is not there; and such as are wrong."""

import json
from pathlib import Path

import pytest
from tests.e2e.lying_registry import lying_registry
from tests.engines import Engine
from tools.own_registry import own_registry
from tools.registry import HTPASSWD, PASSWORD, USER


def test_the_mirror_is_asked_with_its_own_login(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt")
    users, secret, settings = tmp_path / "htpasswd", tmp_path / "password", tmp_path / "daemon.json"
    users.write_text(HTPASSWD)
    secret.write_text(f"{PASSWORD}\n")
    secret.chmod(0o600)
    with own_registry(tmp_path / "root", "--htpasswd", str(users)) as running:
        mirror = {"url": f"http://{running.address}", "username": USER, "password-file": str(secret)}
        settings.write_text(json.dumps({"registries": {"127.0.0.1:9": {"mirrors": [mirror]}}}))
        engine = Engine(["--config-file", str(settings)]).start()
        try:
            (tmp_path / "empty.tar").write_bytes(bytes(10240))
            name = f"{running.address}/team/app:1"
            engine.ok("import", str(tmp_path / "empty.tar"), name)
            engine.ok("login", "-u", USER, "--password-stdin", running.address, stdin=PASSWORD)
            engine.ok("push", "-q", name)
            engine.ok("logout", running.address)
            engine.ok("rmi", name)
            engine.ok("pull", "127.0.0.1:9/team/app:1")
            engine.ok("rmi", "127.0.0.1:9/team/app:1")
        finally:
            engine.stop()


def test_what_a_mirror_gets_wrong_comes_from_the_registry(tmp_path: Path) -> None:
    with lying_registry() as registry, lying_registry() as mirror:
        name = registry.image("truth")
        mirror.image("truth")
        layer = list(mirror.blobs)[1]
        mirror.blobs[layer] = mirror.blobs[layer][:60] + bytes(len(mirror.blobs[layer]) - 60)
        settings = tmp_path / "daemon.json"
        settings.write_text(json.dumps({"registries": {registry.address: {"mirrors": [f"http://{mirror.address}"]}}}))
        engine = Engine(["--config-file", str(settings)]).start()
        try:
            engine.ok("pull", "-q", name)
            assert engine.ok("run", "--rm", name, "cat", "/hello") == "hello"
            assert (
                f"mirror http://{mirror.address} is not used for the rest of this pull: {layer}"
                in engine.log.read_text()
            )
            engine.ok("rmi", name)
        finally:
            engine.stop()
