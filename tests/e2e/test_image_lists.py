"""``images --tree``, ``image layers`` and ``image diff``."""

from tests.e2e.conftest import Client
from tests.engines import Engine


def test_the_tree_names_the_platform(client: Client, engine: Engine) -> None:
    if client.older:
        return
    lines = client.ok("images", "--tree").splitlines()
    position = next(number for number, line in enumerate(lines) if line.strip().startswith("busybox:latest"))
    assert any("linux/amd64" in line or "linux/arm64" in line for line in lines[position + 1 : position + 3]), lines
