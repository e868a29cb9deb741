"""Settings for containers that choose nothing themselves, and the runtimes that they may ask for."""

import json
import re
from pathlib import Path

import pytest

from rundlet.api.container_config import HostConfig, Ulimit
from rundlet.daemon import networks, transfers
from rundlet.daemon.config import Config, load
from rundlet.daemon.errors import ConfigError
from rundlet.engine.containers.security import security
from rundlet.errors import RundletError


def loaded(tmp_path: Path, document: object, *flags: str, path: str = "/usr/bin:/bin") -> Config:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps(document) if document is not None else "\n")
    return load(["--config-file", str(file), *flags], {"PATH": path}, 0)


def test_flags_and_keys_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    profile = str(tmp_path / "profile.json")
    document = {
        "default-shm-size": "128m",
        "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 2048, "Soft": 1024}},
        "default-ipc-mode": "shareable",
        "default-cgroupns-mode": "host",
        "cgroup-parent": "/boxes",
        "init": True,
        "no-new-privileges": True,
        "seccomp-profile": profile,
        "labels": ["room=4"],
        "live-restore": False,
        "shutdown-timeout": 40,
    }
    flags = ["--default-shm-size", "134217728", "--default-ulimit", "nofile=1024:2048", "--default-ipc-mode=shareable"]
    flags += ["--default-cgroupns-mode", "host", "--cgroup-parent", "/boxes", "--init", "--no-new-privileges"]
    flags += ["--seccomp-profile", profile, "--label", "room=4", "--live-restore=false", "--shutdown-timeout", "40"]
    by_file, by_flags = loaded(tmp_path, document), loaded(tmp_path, None, *flags)
    assert by_file.containers == by_flags.containers
    assert by_file.containers.shm_size == 128 << 20
    assert by_file.containers.security.seccomp_profile == {"defaultAction": "SCMP_ACT_ALLOW"}
    for config in (by_file, by_flags):
        assert (config.labels, config.live_restore, config.shutdown_timeout) == (("room=4",), False, 40)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"default-ipc-mode": "host"}, "default IPC mode setting host is not supported: want private"),
        ({"default-cgroupns-mode": "x"}, "default-cgroupns-mode: x"),
        ({"default-shm-size": "lots"}, "default-shm-size: invalid size"),
        ({"default-ulimits": {"nofile": {"Soft": 9, "Hard": 3}}}, "default-ulimits: nofile"),
        ({"default-ulimits": {"nofiles": {"Soft": 1, "Hard": 3}}}, "default-ulimits: nofiles"),
        ({"default-ulimits": {"nofile": 3}}, "default-ulimits: nofile"),
        ({"cgroup-parent": "../x"}, "invalid cgroup parent"),
        ({"seccomp-profile": "/nonexistent/p.json"}, "opening seccomp profile"),
        ({"runtimes": {"r": {"path": "/x", "other": 1}}}, "runtimes: r"),
        ({"runtimes": {"r": {"path": "/x", "runtimeArgs": [1]}}}, "runtimes: r"),
        ({"runtimes": {"r": {"runtimeType": "io.containerd.kata.v2"}}}, "it has no containerd"),
        ({"runtimes": {"r": []}}, "runtimes: r"),
        ({"bridge": "br0", "bip": "10.0.0.1/24"}, "you specified -b & --bip, mutually exclusive options"),
        ({"bridge": "none", "fixed-cidr": "10.0.0.0/24"}, "there is no default bridge"),
        ({"proxies": {"ftp-proxy": "x"}}, "proxies: ftp-proxy: want http-proxy, https-proxy, no-proxy"),
        ({"max-concurrent-uploads": -1}, "invalid max-concurrent-uploads: -1"),
        ({"metrics-addr": "9323"}, "invalid metrics-addr: 9323"),
        ({"experimental": "yes"}, "experimental: want a JSON bool"),
        (
            {"features": {"containerd-snapshotter": True}},
            "features is not supported by Rundlet: containerd-snapshotter",
        ),
        ({"features": {"buildkit": 1}}, "buildkit: want true or false"),
        ({"storage-opts": ["overlay2.size=3G"]}, "storage-opts is not supported by Rundlet: overlay2.size=3G"),
        ({"builder": {"gc": {"enabled": True}}}, "builder: gc: want defaultKeepStorage, or another limit, or a policy"),
        ({"builder": {"gc": {"enabled": True, "keep": 1}}}, "builder: gc: keep: there are enabled, policy"),
        ({"builder": {"gc": {"enabled": True, "defaultKeepStorage": "x"}}}, "invalid size: 'x'"),
        ({"builder": {"gc": {"enabled": True, "policy": [{"filter": ["x=1"]}]}}}, "filter: x=1: want unused-for=168h"),
        ({"builder": {"gc": {"enabled": True, "policy": [{"few": 1}]}}}, "builder: gc: policy: few: there are all"),
        ({"builder": {"entitlements": {"security-insecure": True}}}, "builder: entitlements is not supported"),
        ({"host-gateway-ip": "10.0.0.1", "host-gateway-ips": ["10.0.0.2"]}, "want one of them"),
    ],
)
def test_bad_settings(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(RundletError, match=message):
        loaded(tmp_path, document)


def test_bad_flags() -> None:
    with pytest.raises(RundletError, match="want NAME=SOFT"):
        load(["--default-ulimit", "nofile=many"], {}, 0)


def test_runtimes_as_their_tools_write_them(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-container-runtime"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    document = {
        "runtimes": {
            "nvidia": {"args": [], "path": "nvidia-container-runtime"},
            "loud": {"path": "/opt/runc", "runtimeArgs": ["--debug"]},
            "new": {"runtimeType": "io.containerd.runc.v2", "options": {"BinaryName": "/opt/other"}},
        }
    }
    config = loaded(tmp_path, document, path=str(tmp_path))
    assert config.runtimes == {"nvidia": str(program), "loud": "/opt/runc", "new": "/opt/other"}
    assert config.runtime_args == {"loud": ("--debug",)}


def test_what_networks_are_told(tmp_path: Path) -> None:
    document = {"iptables": False, "bridge": "none", "ip-forward-no-drop": True, "host-gateway-ip": "192.0.2.1"}
    options = networks.options(loaded(tmp_path, document).network)
    assert (options.families, options.default_bridge, options.forward_others) == ((6,), False, True)
    assert options.host_gateways == ("192.0.2.1",)
    by_flags = networks.options(
        loaded(tmp_path, None, "--ip6tables=false", "-b", "none", "--ip-forward-no-drop").network
    )
    assert (by_flags.families, by_flags.default_bridge, by_flags.forward_others) == ((4,), False, True)


def test_containers_have_what_they_ask_for(tmp_path: Path) -> None:
    flags = ("--init", "--no-new-privileges", "--default-ulimit", "nofile=5", "--seccomp-profile", "unconfined")
    defaults = loaded(tmp_path, None, *flags).containers
    assert defaults.wants_init(HostConfig()) and not defaults.wants_init(HostConfig(init=False))
    own = Ulimit(name="nofile", soft=7, hard=7)
    assert defaults.limits(HostConfig()) == (Ulimit(name="nofile", soft=5, hard=5),)
    assert defaults.limits(HostConfig(ulimits=(own,))) == (own,)
    asked = security(HostConfig(security_opt=("no-new-privileges=false", "seccomp=builtin")), defaults.security)
    assert not asked.no_new_privileges and not asked.seccomp_off
    silent = security(HostConfig(), defaults.security)
    assert silent.no_new_privileges and silent.seccomp_off
    assert not security(HostConfig(privileged=True), defaults.security).seccomp_off


def test_pulls_and_pushes(tmp_path: Path) -> None:
    document = {
        "max-concurrent-downloads": 10,
        "max-concurrent-uploads": 2,
        "max-download-attempts": 9,
        "proxies": {"http-proxy": "http://p:1", "no-proxy": "localhost"},
    }
    flags = ["--max-concurrent-downloads", "10", "--max-concurrent-uploads", "2", "--max-download-attempts", "9"]
    by_file = loaded(tmp_path, document).moving
    assert by_file == loaded(tmp_path, None, *flags, "--http-proxy", "http://p:1", "--no-proxy=localhost").moving
    assert (by_file.downloads, by_file.uploads, by_file.attempts) == (10, 2, 9)
    environment = {"http_proxy": "http://other", "https_proxy": "http://kept", "NO_PROXY": "x"}
    transfers.set_proxies(by_file, environment)
    assert environment == {"HTTP_PROXY": "http://p:1", "https_proxy": "http://kept", "NO_PROXY": "localhost"}


@pytest.mark.parametrize(
    ("document", "flags", "directories"),
    [
        ({}, (), ("/etc/cdi", "/var/run/cdi")),
        ({"features": {"cdi": True}}, ("--cdi-spec-dir=/a", "--cdi-spec-dir", "/b"), ("/a", "/b")),
        ({}, ("--feature", "cdi", "--cdi-spec-dir=/a"), ("/a",)),
        ({}, ("--cdi-spec-dir=",), ()),
        ({"cdi-spec-dirs": []}, (), ()),
        ({"features": {"cdi": False}}, (), ()),
        ({"features": {"cdi": False}}, ("--cdi-spec-dir=/a",), ()),
        ({"cdi-spec-dirs": ["/a"]}, ("--feature", "cdi=0"), ()),
    ],
)
def test_directories_of_cdi(
    tmp_path: Path, document: object, flags: tuple[str, ...], directories: tuple[str, ...]
) -> None:
    assert loaded(tmp_path, document, *flags).cdi_spec_dirs == directories


def test_features_by_flag(tmp_path: Path) -> None:
    assert loaded(tmp_path, {}, "--feature", "buildkit", "--feature=cdi=true").buildkit
    assert not loaded(tmp_path, {}, "--feature=buildkit=false").buildkit
    for text, message in (
        ("containerd-snapshotter", "--feature is not supported by Rundlet: containerd-snapshotter: true"),
        ("cdi=maybe", 'invalid argument "cdi=maybe" for "--feature" flag: strconv.ParseBool: parsing "maybe"'),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            loaded(tmp_path, {}, "--feature", text)
    with pytest.raises(ConfigError, match="specified both as a flag and in the configuration file: features"):
        loaded(tmp_path, {"features": {"buildkit": True}}, "--feature", "buildkit")


def test_what_many_files_have_and_what_it_means_here(tmp_path: Path) -> None:
    document = {
        "experimental": False,
        "raw-logs": True,
        "selinux-enabled": False,
        "firewall-backend": "nftables",
        "storage-opts": ["overlay2.override_kernel_check=true"],
        "builder": {"gc": {"enabled": False}},
        "features": {"buildkit": True, "cdi": True, "containerd-snapshotter": False},
        "hosts": ["unix:///s", "127.0.0.1:2375"],
    }
    config = loaded(tmp_path, document)
    assert config.buildkit
    assert config.hosts == ("unix:///s", "tcp://127.0.0.1:2375")
