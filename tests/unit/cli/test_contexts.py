"""``rundlet context``: names for engines on disk, as Docker keeps them, and which one a command uses."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from rundlet.cli.context import Context
from rundlet.cli.context_store import ContextStore
from rundlet.cli.main import main
from rundlet.client.endpoint import Endpoint
from rundlet.client.ssh import command

Output = pytest.CaptureFixture[str]
SOURCE = Path(__file__).resolve().parents[3] / "src"
SETTINGS = {"host": [], "context": "", "config": "", "tls": False, "tlsverify": False}


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DOCKER_HOST", "RUNDLET_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def context(*words: str) -> int:
    return main(["rundlet", "context", *words])


def create(name: str, host: str) -> None:
    assert context("create", name, "--docker", f"host={host}") == 0


def test_a_context_from_begin_to_end(directory: Path, capsys: Output) -> None:
    (directory / "config.json").write_text('{"auths": {"x": {}}}')
    create("remote", "tcp://192.0.2.1:2376")
    assert context("use", "remote") == 0
    assert json.loads((directory / "config.json").read_text()) == {"auths": {"x": {}}, "currentContext": "remote"}
    capsys.readouterr()
    assert context("show") == 0
    assert capsys.readouterr().out == "remote\n"
    assert context("ls") == 0
    assert "remote *" in capsys.readouterr().out
    chosen = Context("rundlet", dict(SETTINGS)).endpoint()
    assert chosen is not None and chosen.url == "tcp://192.0.2.1:2376"
    assert context("rm", "remote") == 1
    assert "is in use, set -f flag to force remove" in capsys.readouterr().err
    assert context("rm", "-f", "remote") == 0
    assert json.loads((directory / "config.json").read_text()) == {"auths": {"x": {}}}
    assert Context("rundlet", dict(SETTINGS)).endpoint() is None


def test_what_is_shown(directory: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default's storage is no path, and its letters are escaped as in all JSON that the command line makes."""
    create("remote", "tcp://192.0.2.1:2376")
    capsys.readouterr()
    assert context("inspect", "default", "remote") == 0
    shown = capsys.readouterr().out
    assert "\\u003cIN MEMORY\\u003e" in shown
    assert json.loads(shown)[1]["Storage"]["TLSPath"].startswith(str(directory))
    assert context("ls", "--format", "json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["Name"], row["Current"]) for row in rows] == [("default", True), ("remote", False)]
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    assert context("ls", "-q") == 0
    out, err = capsys.readouterr()
    assert out == "default\nremote\n"
    assert "DOCKER_HOST environment variable overrides the active context" in err


def test_the_environment_comes_before_the_current_context(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create("remote", "tcp://192.0.2.1:2376")
    assert context("use", "remote") == 0
    monkeypatch.setenv("DOCKER_HOST", "unix:///x.sock")
    chosen = Context("rundlet", dict(SETTINGS)).endpoint()
    assert chosen is not None and chosen.url == "unix:///x.sock"
    named = Context("rundlet", SETTINGS | {"context": "remote"}).endpoint()
    assert named is not None and named.url == "tcp://192.0.2.1:2376"
    assert Context("rundlet", SETTINGS | {"context": "default"}).context_name() == "default"


def test_certificates_travel_with_an_export(directory: Path) -> None:
    for name in ("ca", "cert", "key"):
        (directory / name).write_text(f"the {name}")
    docker = f"host=tcp://192.0.2.1:2376,ca={directory}/ca,cert={directory}/cert,key={directory}/key"
    assert context("create", "one", "--docker", docker, "--description", "a machine") == 0
    assert context("export", "one", str(directory / "file")) == 0
    assert (directory / "file").stat().st_mode & 0o777 == 0o600
    assert context("import", "two", str(directory / "file")) == 0
    keys = list(directory.glob("contexts/tls/*/docker/key.pem"))
    assert [key.read_text() for key in keys] == ["the key"] * 2
    assert all(key.stat().st_mode & 0o777 == 0o600 for key in keys)
    chosen = Context("rundlet", SETTINGS | {"context": "two"}).endpoint()
    assert chosen is not None and chosen.tls is not None and chosen.tls.verify


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create", "x"), "is invalid, names are validated against regexp"),
        (("create", "default", "--docker", "host=unix:///x"), '"default" is a reserved context name'),
        (("create", "one", "--docker", "ca=/x"), "docker endpoint configuration is required"),
        (("create", "one", "--docker", "foo=1"), "unrecognized config key: foo"),
        (("create", "one", "--docker", "host=odd://x"), "invalid bind address format"),
        (("create", "one", "--docker", "host=odd"), "endpoint options: unable to parse docker host `odd`"),
        (("create", "one", "--docker", "host=unix://"), "endpoint options: unable to parse docker host `unix://`"),
        (("create", "one", "--docker", "host=tcp://x:1,ca=/nonexistent"), "no such file or directory"),
        (
            ("create", "one", "--docker", "host=unix:///x,skip-tls-verify=maybe"),
            'skip-tls-verify: parsing "maybe": invalid syntax',
        ),
        (("create", "one", "--docker", "host=unix:///x,skip-tls-verify="), 'parsing "": invalid syntax'),
        (("use", "none"), 'context "none": context not found: open '),
        (("rm", "none"), 'context "none" does not exist'),
        (("rm", "default"), 'context "default" cannot be removed'),
        (("import", "one", "/nonexistent"), "open /nonexistent: no such file or directory"),
        (("export", "none"), 'context "none": context not found'),
    ],
)
def test_what_is_refused(words: tuple[str, ...], message: str, capsys: Output) -> None:
    assert context(*words) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "invalid context: no metadata found\n"),
        (b"junk", "unexpected context file: file could not be opened successfully\n"),
        (b"\x1f\x8b\x08junk", "unexpected context file: "),
        (b"PK\x05\x06" + bytes(18), "invalid context: no metadata found\n"),
    ],
)
def test_archives_that_are_none(data: bytes, message: str, directory: Path, capsys: Output) -> None:
    (directory / "file").write_bytes(data)
    assert context("import", "one", str(directory / "file")) == 1
    assert capsys.readouterr().err.startswith(message)


def test_the_default_context_is_exported_too(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere")
    assert context("export", "default", str(directory / "file")) == 0
    assert context("import", "copy", str(directory / "file")) == 0
    assert ContextStore(str(directory)).get("copy").host == "unix:///elsewhere"


def test_an_endpoint_in_parts_and_of_another_context(directory: Path, capsys: Output) -> None:
    assert context("create", "one", "--docker", "host=unix:///one", "--docker", "skip-tls-verify=true") == 0
    assert ContextStore(str(directory)).get("one").docker == {"Host": "unix:///one", "SkipTLSVerify": True}
    assert context("create", "two", "--docker", "host=unix:///two") == 0
    assert context("update", "two", "--docker", "from=one") == 0
    assert ContextStore(str(directory)).get("two").docker == {"Host": "unix:///one", "SkipTLSVerify": True}
    capsys.readouterr()
    assert context("update", "two", "--docker", "from=none") == 1
    said = capsys.readouterr().err
    assert said.startswith('unable to create docker endpoint config: context "none": context not found')
    for words in (("update", "two"), ("create", "three")):
        assert context(*words, "--docker", "from=default,host=unix:///x,skip-tls-verify=maybe") == 1
        assert capsys.readouterr().err == "conflicting options\n"
    assert context("create", "three", "--from", "one", "--docker", "from=two") == 1
    assert capsys.readouterr().err == "cannot use --docker flag when --from is set\n"
    assert ContextStore(str(directory)).names() == ["one", "two"]


def test_contexts_like_the_default(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///elsewhere")
    create("one", "unix:///one")
    assert context("update", "one", "--docker", "from=default") == 0
    assert context("create", "two", "--from", "default") == 0
    one, two = (ContextStore(str(directory)).get(name) for name in ("one", "two"))
    assert one.docker == two.docker == {"Host": "unix:///elsewhere", "SkipTLSVerify": False}
    assert (one.description, two.description) == ("", "Current DOCKER_HOST based configuration")


def test_a_file_that_can_not_be_written_is_named_and_not_left(directory: Path) -> None:
    """A disk that is full, as far as a process can tell."""
    create("one", "unix:///one")
    (directory / "config.json").write_text("{}")
    before = sorted(directory.rglob("*"))
    commands = {
        "context export one one.file": "write one.file: file too large\n",
        "context create two --docker host=unix:///two": 'context "two": ',
        "context use one": f"{directory}/config.json: file too large\n",
    }
    for words, message in commands.items():
        script = f"ulimit -f 0; exec {sys.executable} -m rundlet {words}"
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False, timeout=60, env=environment
        )
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert done.stderr.endswith(": file too large\n")
        assert "None" not in done.stderr
    assert [path for path in sorted(directory.rglob("*")) if path.is_file()] == [one for one in before if one.is_file()]


def test_an_archive_can_not_write_elsewhere(directory: Path, capsys: Output) -> None:
    buffer = io.BytesIO()
    document = json.dumps({"Name": "../../evil", "Endpoints": {"docker": {"Host": "unix:///x"}}}).encode()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in (("meta.json", document), ("tls/docker/../../../../evil", b"x"), ("/evil", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (directory / "file").write_bytes(buffer.getvalue())
    assert context("import", "good", str(directory / "file")) == 1
    assert not list(directory.rglob("evil*"))
    assert capsys.readouterr().err == "tls/docker/../../../../evil: unexpected context file\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ssh://box", ["-T", "--", "box", "rundlet", "system", "dial-stdio"]),
        ("ssh://me@box:22", ["-T", "-l", "me", "-p", "22", "--", "box", "rundlet", "system", "dial-stdio"]),
        ("ssh://box/x.sock", ["-T", "--", "box", "rundlet", "-H", "unix:///x.sock", "system", "dial-stdio"]),
    ],
)
def test_what_ssh_is_told(url: str, expected: list[str]) -> None:
    assert command(Endpoint(url))[3:] == expected


def test_descriptions_and_copies(capsys: Output) -> None:
    assert context("create", "one", "--description", "first", "--docker", "host=tcp://192.0.2.1:2376") == 0
    assert context("create", "two", "--from", "one") == 0
    assert context("update", "two", "--description", "second", "--docker", "host=tcp://192.0.2.2:2376") == 0
    capsys.readouterr()
    template = "{{.Name}} {{.Metadata.Metadata.Description}} {{.Endpoints.docker.Host}}"
    assert context("inspect", "--format", template, "one", "two") == 0
    assert capsys.readouterr().out.splitlines() == [
        "one first tcp://192.0.2.1:2376",
        "two second tcp://192.0.2.2:2376",
    ]
    assert context("ls", "--quiet") == 0
    assert capsys.readouterr().out.split() == ["default", "one", "two"]
    assert context("ls", "--format", "{{.Name}}:{{.Description}}") == 0
    assert "two:second" in capsys.readouterr().out
    assert context("rm", "--force", "one", "two", "none") == 0


def test_a_context_of_the_one_in_use(directory: Path, capsys: Output) -> None:
    """Who says nothing about the engine gets a copy."""
    create("remote", "tcp://192.0.2.1:2376")
    assert context("use", "remote") == 0
    assert context("create", "more", "--description", "the same") == 0
    capsys.readouterr()
    assert context("inspect", "more") == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["Endpoints"]["docker"]["Host"], shown["Metadata"]["Description"]) == (
        "tcp://192.0.2.1:2376",
        "the same",
    )


def test_an_archive_that_ends_with_its_last_files_last_byte(directory: Path, capsys: Output) -> None:
    create("one", "tcp://192.0.2.1:2376")
    assert context("export", "one", str(directory / "file")) == 0
    data = (directory / "file").read_bytes()
    with tarfile.open(directory / "file") as packed:
        last = packed.getmembers()[-1]
    end = last.offset_data + last.size
    (directory / "file").write_bytes(data[:end])
    assert context("import", "two", str(directory / "file")) == 0
    (directory / "file").write_bytes(data[: end - 1])
    capsys.readouterr()
    assert context("import", "three", str(directory / "file")) == 1
    assert "unexpected context file: unexpected EOF" in capsys.readouterr().err
