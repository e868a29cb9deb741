"""--output, --secret, --ssh and what becomes of the other flags."""

import socket
from pathlib import Path
from typing import Any

import pytest

from rundlet.cli.building.outputs import parse_output
from rundlet.cli.building.query import attestations, build_query, makes_image, outputs, result_names, tags
from rundlet.cli.building.secrets import read_agents, read_secrets
from rundlet.cli.commands.image import build
from rundlet.cli.context import Context
from rundlet.cli.exit import CommandError
from rundlet.cli.flags import Parser


def flags(*words: str) -> dict[str, Any]:
    parser = Parser(build.FLAGS)
    parser.parse([*words, "."])
    return parser.values


@pytest.mark.parametrize(
    ("text", "kind", "attributes", "destination"),
    [
        ("out", "local", {}, "out"),
        ("-", "tar", {}, "-"),
        ("type=local,dest=out", "local", {}, "out"),
        ("type=tar,dest=out.tar", "tar", {}, "out.tar"),
        ("type=oci,dest=out.tar,compression=zstd", "oci", {"compression": "zstd"}, "out.tar"),
        ("type=docker", "docker", {}, ""),
        ("type=image,name=a:b,push=true", "image", {"name": "a:b", "push": "true"}, ""),
        ("type=registry", "image", {"push": "true"}, ""),
        ("type=cacheonly", "cacheonly", {}, ""),
    ],
)
def test_outputs(text: str, kind: str, attributes: dict[str, str], destination: str) -> None:
    found = parse_output(text)
    assert (found.type, found.attributes, found.destination) == (kind, attributes, destination)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dest=x,a=b", "type is required for output"),
        ("type=foo", "exporter foo could not be found"),
        ("type=local", "dest is required for local exporter"),
        ("type=local,dest=-", "dest cannot be stdout for local exporter"),
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=oci,tar=maybe", "invalid value tar=maybe"),
        ("type=image,dest=x", "dest is not supported by output type image"),
        ("type=tar,x", "invalid value x"),
        ("type=tar,dest=/", "destination file / is a directory"),
        ("type=local,dest=/etc/passwd", "destination directory /etc/passwd is a file"),
    ],
)
def test_bad_outputs(text: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        parse_output(text)


def test_push_and_load_are_outputs() -> None:
    assert outputs(flags()) == []
    assert [output.wire() for output in outputs(flags("--push"))] == [{"Type": "image", "Attrs": {"push": "true"}}]
    both = outputs(flags("--load", "-o", "type=tar,dest=x"))
    assert [output.type for output in both] == ["tar", "docker"]


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_bytes(b"file\n")
    monkeypatch.setenv("TOKEN", "variable")
    monkeypatch.setenv("plain", "same name")
    monkeypatch.chdir(tmp_path)
    words = ["id=a,src=token", "src=token", "id=b,env=TOKEN", "id=c,type=env,src=TOKEN", "id=plain"]
    assert read_secrets(words) == {
        "a": b"file\n",
        "token": b"file\n",
        "b": b"variable",
        "c": b"variable",
        "plain": b"same name",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id", "invalid field 'id' must be a key=value pair"),
        ("id=a,foo=b", "unexpected key 'foo' in 'foo=b'"),
        ("type=file", "secret missing ID"),
        ("id=a,type=vault", "unsupported secret type 'vault'"),
        ("id=a,env=NOT_THERE", "secret env variable NOT_THERE is not set"),
        ("id=a,src=/nowhere", "failed to stat /nowhere: stat /nowhere: no such file or directory"),
    ],
)
def test_bad_secrets(text: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        read_secrets([text])


def test_secrets_have_a_limit(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (500 * 1024 + 1))
    with pytest.raises(CommandError, match=r"secret big too big\. max size 500KB"):
        read_secrets([f"src={tmp_path}/big"])


def test_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "agent")
    (tmp_path / "key").write_text("key")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert read_agents(["default", f"other={path}"]) == {"default": path, "other": path}
    with pytest.raises(CommandError, match="is not supported by Rundlet"):
        read_agents([f"default={tmp_path}/key"])
    with pytest.raises(CommandError, match="no such file"):
        read_agents(["default=/nowhere"])
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(CommandError, match="invalid empty ssh agent socket"):
        read_agents(["default"])


def query(*words: str) -> dict[str, Any]:
    settings = {"config": "/nowhere", "host": [], "context": ""}
    found = flags(*words)
    made = build_query(Context("rundlet", settings), found, outputs(found))
    return {name: value for name, value in made.items() if value is not None}


def test_what_is_not_given_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert query() == {"version": "1", "rm": True}


def test_flags_become_the_query(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    monkeypatch.setenv("FROM_HERE", "yes")
    monkeypatch.delenv("NOT_HERE", raising=False)
    words = (
        "-t a:b -t c --build-arg X=1 --build-arg FROM_HERE --build-arg NOT_HERE --label l=m --target t --pull".split()
    )
    more = "--platform linux/amd64,linux/arm64 --no-cache --no-cache-filter s1,s2 --network host --rm=false".split()
    rest = "--shm-size 1m --add-host h:1.2.3.4 --check --sbom=true --provenance mode=max --ulimit nofile=5".split()
    assert query(*words, *more, *rest) == {
        "version": "1",
        "t": ["a:b", "c"],
        "buildargs": '{"X":"1","FROM_HERE":"yes","SOURCE_DATE_EPOCH":"5"}',
        "labels": '{"l":"m"}',
        "target": "t",
        "pull": "1",
        "platform": "linux/amd64,linux/arm64",
        "nocache": True,
        "nocachefilter": '["s1","s2"]',
        "networkmode": "host",
        "rm": False,
        "shmsize": 1 << 20,
        "extrahosts": ["h:1.2.3.4"],
        "check": "1",
        "attests": '["type=provenance,mode=max","type=sbom"]',
        "ulimits": '[{"Name":"nofile","Hard":5,"Soft":5}]',
    }


def test_bad_values() -> None:
    with pytest.raises(CommandError, match='invalid tag "A B": invalid reference format'):
        tags(["A B"])
    with pytest.raises(CommandError, match="invalid value for sbom: perhaps"):
        attestations(flags("--sbom", "perhaps"))
    with pytest.raises(CommandError, match="--call=sing is not supported by Rundlet"):
        query("--call", "sing")
    with pytest.raises(CommandError, match="invalid call attribute: colour=red"):
        query("--call", "outline,colour=red")


@pytest.mark.parametrize(
    ("words", "check", "call"),
    [
        (["--check"], "1", None),
        (["--call", "lint"], "1", None),
        (["--call", "check,format=json"], None, "check"),
        (["--call", "outline"], None, "outline"),
        (["--call", "build"], None, None),
    ],
)
def test_what_is_asked_instead_of_a_build(words: list[str], check: str | None, call: str | None) -> None:
    found = query(*words)
    assert (found.get("check"), found.get("call")) == (check, call)


def test_what_is_said_of_the_result() -> None:
    assert makes_image([])
    assert not makes_image(outputs(flags("-o", "out")))
    assert not makes_image(outputs(flags("-o", "type=docker,dest=x.tar")))
    assert makes_image(outputs(flags("-o", "out", "--load")))
    named = outputs(flags("-o", "type=image,name=b"))
    assert result_names(["a:1"], named) == ["docker.io/library/a:1", "docker.io/library/b:latest"]
