"""The engine's settings: flags, file, and what is refused."""

import json
from pathlib import Path

import pytest

from rundlet.cli.commands.engine import run
from rundlet.daemon import flags, networks
from rundlet.daemon.config import load
from rundlet.daemon.errors import ConfigError
from rundlet.network.networks import MTU


def test_defaults_by_user(tmp_path: Path) -> None:
    root = load([], {}, 0)
    assert (root.data_root, root.exec_root) == ("/var/lib/rundlet", "/run/rundlet")
    environment = {"HOME": "/home/u", "XDG_RUNTIME_DIR": str(tmp_path)}
    user = load([], environment, 7)
    assert (user.data_root, user.exec_root) == ("/home/u/.local/share/rundlet", f"{tmp_path}/rundlet")
    inside = load(["--rootless", "7"], environment, 0)
    assert (inside.data_root, inside.exec_root, inside.rootless) == (user.data_root, user.exec_root, 7)
    without = load([], {"HOME": "/home/u", "XDG_RUNTIME_DIR": f"{tmp_path}/missing"}, 7)
    assert without.exec_root == "/tmp/rundlet-7"


def test_flags_in_all_their_forms() -> None:
    config = load(
        ["-H", "unix:///a", "-Hunix:///b", "--host=unix:///c", "-D", "--bip", "10.9.0.1/24", "--add-runtime", "x=/y"],
        {},
        0,
    )
    assert config.hosts == ("unix:///a", "unix:///b", "unix:///c")
    assert config.debug and config.network["bip"] == "10.9.0.1/24" and config.runtimes == {"x": "/y"}
    clustered = load(["-Dlerror", "-D=false", "-p=/p"], {}, 0)
    assert (clustered.debug, clustered.log_level, clustered.pidfile) == (False, "error", "/p")


@pytest.mark.parametrize("word", ["--help", "-h", "-v", "--version"])
def test_questions_are_not_settings(word: str) -> None:
    with pytest.raises(flags.InformationRequested, match=r"help|version"):
        load(["--debug", word], {}, 0)


def test_help_shows_every_flag() -> None:
    shown = {name: short for name, short, *_ in run.FLAGS}
    assert set(shown) == set(flags.FLAGS) - flags.INTERNAL
    assert {short: name for name, short in shown.items() if short} == flags.SHORT


def test_registries() -> None:
    flags = ["--registry-mirror", "http://one.example", "--registry-mirror=http://two.example/", "--insecure-registry"]
    config = load([*flags, "10.0.0.0/8"], {}, 0)
    assert [mirror.rstrip("/") for mirror in config.registry_mirrors] == ["http://one.example", "http://two.example"]
    assert config.insecure_registries == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--bip"], "flag needs an argument: --bip"),
        (["--bip", "10.0.0.1"], "prefix length"),
        (["--log-level", "loud"], "invalid log level"),
        (["-H", "ftp://x"], "invalid host"),
        (["--debug=maybe"], 'invalid argument "maybe" for "-D, --debug" flag: strconv.ParseBool'),
        (["--mtu", "x"], 'invalid argument "x" for "--mtu" flag: strconv.ParseInt'),
        (["-Z"], "unknown shorthand flag: 'Z' in -Z"),
        (["-DH"], "flag needs an argument: 'H' in -DH"),
        (["--data-root", "relative"], "must be an absolute path"),
        (["--exec-root", "/" + "x" * 90], "too long"),
        (["--add-runtime", "nopath"], "want NAME=PATH"),
        (["--default-address-pool", "base=10.0.0.0/16"], "want"),
        (["--default-address-pool", "base=10.0.0.0/16,size=8"], "invalid size 8"),
        (["--default-address-pool", "base=10.0.0.1/16,size=24"], "invalid base pool"),
        (["--exec-opt", "native.cgroupdriver=sysv"], 'native.cgroupdriver "sysv" is not supported'),
        (
            ["--exec-opt", "native.cgroupdriver=systemd", "--exec-opt", "native.cgroupdriver=cgroupfs"],
            "native.cgroupdriver is both systemd and cgroupfs",
        ),
        (
            ["--exec-opt", "native.umask=normal"],
            "exec-opts: native.umask=normal: there is native.cgroupdriver=cgroupfs",
        ),
        (["--log-format", "xml"], "invalid log format: xml: want one of text, json"),
        (["--metrics-addr", "9323"], "invalid metrics-addr: 9323: want HOST:PORT"),
        (["--metrics-addr", "::1:9323"], "invalid metrics-addr"),
        (["--rootless", "7", "--metrics-addr", ":9323"], "is for root's engine"),
        (["-s", "btrfs"], "storage-driver: btrfs: there are overlay2 and vfs"),
        (["--default-userns", "auto", "--userns-remap", "default"], "only one of them can be the default"),
        (["--rootless", "7", "--default-userns", "auto"], "are for root's engine"),
        (["--dns", "odd"], "invalid dns: odd"),
        (["--dns-search", "a b"], "invalid dns-search"),
        (["--mtu", "20"], "invalid mtu: 20"),
        (["--ip", "::1"], "want an IPv4 address"),
        (["--fixed-cidr", "odd"], "invalid fixed-cidr"),
        (["--fixed-cidr-v6", "fd00::/64"], "fixed-cidr-v6 needs ipv6"),
        (["--bip", "10.0.0.1/24", "--fixed-cidr", "10.1.0.0/24"], "is outside of the subnet of bip"),
        (["--default-network-opt", f"bridge={MTU}=odd"], "default-network-opts: bridge: failed to parse"),
        (["--default-network-opt", "bridge"], "want DRIVER=OPTION=VALUE"),
        (["stray"], "accepts no arguments"),
    ],
)
def test_bad_flags_are_one_clear_line(argv: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(argv, {}, 0)
    hint = "\nSee 'rundlet engine run --help'."
    assert "\n" not in str(caught.value).removesuffix(hint)


def test_address_pools(tmp_path: Path) -> None:
    flags = ["--default-address-pool", "base=10.10.0.0/16,size=24", "--default-address-pool=base=10.20.0.0/24,size=28"]
    assert load(flags, {}, 0).network["default-address-pools"] == [("10.10.0.0/16", 24), ("10.20.0.0/24", 28)]
    path = write(tmp_path, {"default-address-pools": [{"base": "10.10.0.0/16", "size": 24}]})
    assert load(["--config-file", path], {}, 0).network["default-address-pools"] == [("10.10.0.0/16", 24)]


def test_network_options() -> None:
    flags = [
        "--ipv6",
        "--fixed-cidr-v6=fd00:1::/64",
        "--icc=false",
        "--mtu",
        "1400",
        "--ip",
        "192.0.2.1",
        "--dns=192.0.2.3",
    ]
    values = load([*flags, "--default-network-opt", f"bridge={MTU}=1300"], {}, 0).network
    made = networks.options(values)
    assert (made.ipv6, made.fixed_cidr_v6, made.icc, made.mtu, made.binding) == (
        True,
        "fd00:1::/64",
        False,
        1400,
        "192.0.2.1",
    )
    assert made.defaults == {"bridge": {MTU: "1300"}}
    assert networks.resolver(values).nameservers == ("192.0.2.3",)
    told = load(["--ip-forward=false", "--default-gateway=172.17.0.9", "--allow-direct-routing"], {}, 0).network
    assert networks.options(told).direct and not made.direct
    assert (networks.options(told).forwarding, networks.options(told).gateway) == (False, "172.17.0.9")
    assert networks.proxied(values) and not networks.proxied(load(["--userland-proxy=false"], {}, 0).network)


def write(tmp_path: Path, document: object) -> str:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"data-root": "/d", "runtimes": {"runc": {"path": "/usr/sbin/runc"}}, "debug": True})
    config = load(["--config-file", path], {}, 0)
    assert config.data_root == "/d" and config.runtimes == {"runc": "/usr/sbin/runc"} and config.debug


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"graph": "/x"}, "don't match any configuration option: graph"),
        ({"debug": "yes"}, "debug: want a JSON bool"),
        ({"runtimes": {"runc": {"path": "/x", "runtimeArgs": {}, "more": 1}}}, "runtimes: runc"),
        ([], "want a JSON object"),
    ],
)
def test_bad_file(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(["--config-file", write(tmp_path, document)], {}, 0)


def test_what_of_the_build_cache_goes(tmp_path: Path) -> None:
    rules = [
        {"keepStorage": "1GB", "filter": ["unused-for=2200h", "type=regular"]},
        {"all": True},
        {"keepDuration": "2h"},
    ]
    collected = {"enabled": True, "defaultKeepStorage": "20GB", "policy": rules}
    first, second, third = load(["--config-file", write(tmp_path, {"builder": {"gc": collected}})], {}, 0).build_rules
    assert (first.reserved_space, second.reserved_space, third.reserved_space) == (1 << 30, 20 << 30, 20 << 30)
    assert first.filters.values == {"unused-for": ("2200h",), "type": ("regular",)}
    assert (second.filters.values, third.filters.values) == ({}, {"unused-for": ("2h",)})
    # As the tests of buildx write it: names in any case, and nothing in it.
    empty = {"builder": {"Entitlements": {}}}
    assert load(["--config-file", write(tmp_path, empty)], {}, 0).build_rules == ()
    off = {"builder": {"gc": {"enabled": False, "defaultKeepStorage": "20GB"}}}
    assert load(["--config-file", write(tmp_path, off)], {}, 0).build_rules == ()


def test_null_in_the_file_says_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, {"max-concurrent-uploads": None, "labels": None, "debug": True})
    config = load(["--config-file", path], {}, 0)
    assert (config.moving.uploads, config.labels, config.debug) == (5, (), True)


def test_flag_and_file_conflict(tmp_path: Path) -> None:
    path = write(tmp_path, {"bip": "10.0.0.1/8"})
    with pytest.raises(ConfigError, match="both as a flag and in the configuration file: bip"):
        load(["--config-file", path, "--bip", "10.0.0.1/8"], {}, 0)


def test_everything_that_is_said_twice_is_named_without_its_passwords(tmp_path: Path) -> None:
    path = write(tmp_path, {"labels": ["a=1"], "proxies": {"http-proxy": "http://u:p@one", "no-proxy": "x"}})
    flags = ["--label", "b=2", "--http-proxy", "http://me:secret@u:p@two", "--no-proxy", "y", "--debug"]
    with pytest.raises(ConfigError) as caught:
        load(["--config-file", path, *flags], {}, 0)
    said = str(caught.value)
    assert said.startswith(f"unable to configure the Docker daemon with file {path}: the following directives are ")
    assert said.partition("configuration file: ")[2].split(", ") == [
        "http-proxy: (from flag: http://xxxxx:xxxxx@two",
        "from file: http://xxxxx:xxxxx@one)",
        "labels: (from flag: ['b=2']",
        "from file: ['a=1'])",
        "no-proxy: (from flag: y",
        "from file: x)",
    ]


def test_named_file_must_exist() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(["--config-file", "/nonexistent/x.json"], {}, 0)
