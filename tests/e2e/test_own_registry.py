"""Our registry with every command line: push, pull, search, login with a password."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Client
from tools.own_registry import OwnRegistry, own_registry
from tools.registry import HTPASSWD, PASSWORD, USER


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path_factory.mktemp("own") / "root") as running:
        yield running


def test_push_pull_and_search(client: Client, own: OwnRegistry) -> None:
    name = f"{own.address}/team/app:v1"
    client.ok("tag", "busybox", name)
    client.ok("push", name)
    identity = client.ok("inspect", "-f", "{{.Id}}", name)
    client.ok("rmi", name)
    assert "Status: Downloaded newer image" in client.ok("pull", name)
    assert client.ok("inspect", "-f", "{{.Id}}", name) == identity
    assert client.ok("search", "--format", "{{.Name}}", f"{own.address}/tea") == "team/app"
    if not client.older:
        assert client.ok("search", "--limit", "-1", "--format", "{{.Name}}", f"{own.address}/tea") == "team/app"
    client.ok("rmi", name)


def test_login_push_and_logout(client: Client, tmp_path: Path) -> None:
    pytest.importorskip("bcrypt")
    users = tmp_path / "htpasswd"
    users.write_text(HTPASSWD)
    with own_registry(tmp_path / "root", "--htpasswd", str(users)) as running:
        name = f"{running.address}/private:1"
        client.ok("tag", "busybox", name)
        refused = client("push", name)
        assert refused.returncode == 1
        wrong = client("login", "-u", USER, "--password-stdin", running.address, stdin="wrong")
        assert wrong.returncode == 1
        assert "unauthorized" in wrong.stderr.lower()
        done = client.ok("login", "-u", USER, "--password-stdin", running.address, stdin=PASSWORD)
        assert "Login Succeeded" in done
        again = client("login", running.address)
        assert again.returncode == 0
        assert "Login Succeeded" in again.stdout
        assert "Authenticating with existing credentials..." in again.stdout + again.stderr
        client.ok("push", name)
        client.ok("rmi", name)
        client.ok("pull", "-q", name)
        client.ok("logout", running.address)
        client.ok("rmi", name)
        assert client("pull", name).returncode == 1
