"""Mirrors of any registry in daemon.json."""

import json
from pathlib import Path

import pytest

from rundlet.daemon import registries
from rundlet.daemon.config import load
from rundlet.daemon.registries import RegistriesError


def test_urls_and_logins(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    login = {"url": "https://m.example:5000/x", "username": "u", "password-file": "/etc/m"}
    path.write_text(json.dumps({"registries": {"quay.io": {"mirrors": ["http://a.example", login]}}}))
    config = load(["--config-file", str(path)], {}, 0)
    assert config.mirrors == {"quay.io": ("http://a.example", "https://m.example:5000/x")}
    assert config.mirror_logins == {"m.example:5000": ("u", "/etc/m")}


@pytest.mark.parametrize(
    "document",
    [
        {"quay.io": ["https://x"]},
        {"quay.io": {"mirrors": "https://x"}},
        {"quay.io": {"mirrors": [], "insecure": True}},
        {"quay.io": {"mirrors": [{"url": "https://x"}]}},
        {"quay.io": {"mirrors": [{"url": "https://x", "username": "u", "password": "never here"}]}},
        {"quay.io": {"mirrors": [{"url": "https://x", "username": 7, "password-file": "/p"}]}},
    ],
)
def test_what_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(RegistriesError, match=r"registries: quay\.io: want"):
        registries.parse(document)


def test_a_mirror_has_one_login() -> None:
    mirrors = [{"url": f"https://x/{n}", "username": n, "password-file": "/p"} for n in ("a", "b")]
    with pytest.raises(RegistriesError, match="two different logins"):
        registries.parse({"quay.io": {"mirrors": mirrors}})


def test_a_password_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret\n")
    path.chmod(0o644)
    with pytest.raises(RegistriesError, match="chmod 600"):
        registries.password(str(path))
    path.chmod(0o600)
    assert registries.password(str(path)) == "secret"
    with pytest.raises(RegistriesError, match="No such file"):
        registries.password(str(tmp_path / "none"))
