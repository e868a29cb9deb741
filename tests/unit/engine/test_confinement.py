"""AppArmor and SELinux: the defaults, what is refused by name, what ``info`` says."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rundlet.api.container_config import HostConfig
from rundlet.engine import confinement
from rundlet.engine.containers.security import apparmor_profile, security
from rundlet.errors import NotSupportedError
from rundlet.linux import lsm
from rundlet.runtime.init import plan, rights


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One without either."""
    monkeypatch.setattr(lsm, "apparmor_enabled", lambda: False)
    monkeypatch.setattr(lsm, "selinux_enabled", lambda: False)
    confinement.default_profile.cache_clear()
    yield
    confinement.default_profile.cache_clear()


def host(*options: str, privileged: bool = False) -> HostConfig:
    return HostConfig(security_opt=options, privileged=privileged)


def test_without_them_they_are_refused_by_name() -> None:
    assert apparmor_profile(host()) == ""
    assert apparmor_profile(host("apparmor=unconfined", "label=disable")) == ""
    for option in ("apparmor=mine", "label=type:x_t", "label:level:s0:c1"):
        with pytest.raises(NotSupportedError, match=option):
            security(host(option))
    assert (confinement.options(), confinement.warnings()) == ([], [])


def test_profile_is_loaded_once_and_given_to_everyone_unprivileged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "apparmor_parser"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls; cat >> {tmp_path}/calls\n')
    program.chmod(0o755)
    monkeypatch.setattr(lsm, "apparmor_enabled", lambda: True)
    monkeypatch.setattr(confinement, "parser", lambda: str(program))
    assert apparmor_profile(host()) == apparmor_profile(host()) == "rundlet-default"
    said = (tmp_path / "calls").read_text()
    assert said.startswith("-Kr\n")
    assert said.count("profile rundlet-default") == 1
    assert apparmor_profile(host(privileged=True)) == ""
    assert apparmor_profile(host("apparmor=mine", privileged=True)) == "mine"
    assert apparmor_profile(host("apparmor=unconfined")) == ""
    assert confinement.options() == ["name=apparmor"]


def test_loaded_profile_needs_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsm, "apparmor_enabled", lambda: True)
    monkeypatch.setattr(confinement, "parser", lambda: None)
    monkeypatch.setattr(lsm, "apparmor_profiles", lambda: frozenset({"rundlet-default"}))
    assert apparmor_profile(host()) == "rundlet-default"


@pytest.mark.parametrize(("program", "why"), [(None, "apparmor_parser is missing"), ("/bin/false", "can't be loaded")])
def test_active_without_a_profile_is_a_warning(monkeypatch: pytest.MonkeyPatch, program: str | None, why: str) -> None:
    monkeypatch.setattr(lsm, "apparmor_enabled", lambda: True)
    monkeypatch.setattr(lsm, "apparmor_profiles", frozenset)
    monkeypatch.setattr(confinement, "parser", lambda: program)
    assert apparmor_profile(host()) == ""
    assert why in confinement.warnings()[0]


def test_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsm, "selinux_enabled", lambda: True)
    assert security(host()).label == ""
    assert security(host("label=type:mine_t", "label=level:s0:c1,c2")).label == "system_u:system_r:mine_t:s0:c1,c2"
    steps = plan.process_steps(
        {"selinuxLabel": "a:b:c:d", "apparmorProfile": "p"}, plan.User(0, 0, ()), b"", create_cwd=True
    )
    assert rights.SELinux("a:b:c:d") in steps
    assert rights.AppArmor("p") in steps


def test_names_of_loaded_profiles(tmp_path: Path) -> None:
    (tmp_path / "profiles").write_text("docker-default (enforce)\n/usr/bin/man (complain)\na//b (c) (enforce)\n")
    assert lsm.apparmor_profiles(str(tmp_path / "profiles")) == {"docker-default", "/usr/bin/man", "a//b (c)"}


@pytest.mark.root
def test_relabel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").touch()
    outside = tmp_path.with_name(tmp_path.name + "-outside")
    outside.touch()
    (tmp_path / "link").symlink_to(outside)
    try:
        os.setxattr(outside, "security.selinux", b"before\0")
    except OSError as exc:
        pytest.skip(f"no place for labels: {exc}")
    confinement.relabel(str(tmp_path))
    assert "security.selinux" not in os.listxattr(tmp_path)
    monkeypatch.setattr(lsm, "selinux_enabled", lambda: True)
    confinement.relabel(str(tmp_path))
    for place in (tmp_path, tmp_path / "inner", tmp_path / "inner" / "file"):
        assert os.getxattr(place, "security.selinux") == b"system_u:object_r:container_file_t:s0\0"
    assert os.getxattr(outside, "security.selinux") == b"before\0"
