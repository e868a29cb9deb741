"""``docker-credential-rundlet`` with the kernel's keyring, with a secret service, and under the docker command line."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.own_registry import SOURCE, own_registry
from tools.registry import HTPASSWD, PASSWORD, USER

SECRET_TOOL = """#!{python}
import json, os, sys
path = {state!r}
kept = json.load(open(path)) if os.path.exists(path) else {{}}
verb, words = sys.argv[1], [w for w in sys.argv[2:] if not w.startswith("--label=")]
key = " ".join(words)
if verb == "store":
    kept[key] = sys.stdin.read()
elif verb == "lookup":
    if key not in kept:
        sys.exit(1)
    sys.stdout.write(kept[key])
else:
    kept.pop(key, None)
json.dump(kept, open(path, "w"))
"""


class Helper:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "PYTHONPATH": str(SOURCE),
            "HOME": str(directory),
        }
        program = directory / "docker-credential-rundlet"
        program.write_text(f"#!{sys.executable}\nfrom rundlet.cli.credential_helper import script\n\nscript()\n")
        program.chmod(0o755)

    def __call__(self, verb: str, text: str = "") -> tuple[int, str]:
        done = subprocess.run(
            [self.directory / "docker-credential-rundlet", verb],
            input=text,
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout


@pytest.fixture(params=["keyring", "secret-tool"])
def helper(request: pytest.FixtureRequest, tmp_path: Path) -> Helper:
    helper = Helper(tmp_path)
    if request.param == "secret-tool":
        program = tmp_path / "secret-tool"
        program.write_text(SECRET_TOOL.format(python=sys.executable, state=str(tmp_path / "state")))
        program.chmod(0o755)
        helper.environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"
    elif helper("list")[0]:
        pytest.skip("the kernel gives no keyring here")
    return helper


@pytest.fixture
def server(helper: Helper) -> Iterator[str]:
    name = f"https://{secrets.token_hex(6)}.example/v1/"
    yield name
    helper("erase", name)


def test_the_protocol(helper: Helper, server: str) -> None:
    assert helper("get", server) == (1, "credentials not found in native keychain\n")
    given = {"ServerURL": server, "Username": "ann", "Secret": "s3;cret ü"}
    assert helper("store", json.dumps(given)) == (0, "")
    code, text = helper("get", server + "\n")
    assert (code, json.loads(text)) == (0, given)
    assert helper("store", json.dumps({**given, "Secret": "new"})) == (0, "")
    assert json.loads(helper("get", server)[1])["Secret"] == "new"
    assert json.loads(helper("list")[1])[server] == "ann"
    assert helper("erase", server) == (0, "")
    assert helper("erase", server)[0] == 1
    assert server not in json.loads(helper("list")[1])


def test_what_it_refuses(helper: Helper) -> None:
    assert helper("get", "")[1] == "no credentials server URL\n"
    assert helper("store", '{"Username": "x"}')[1] == "no credentials server URL\n"
    assert helper("store", '{"ServerURL": "x"}')[1] == "no credentials username\n"
    assert helper("store", "nonsense")[0] == 1
    assert helper("nonsense") == (1, "Usage: docker-credential-rundlet <store|get|erase|list|version>\n")
    assert helper("version")[1].startswith("docker-credential-rundlet (rundlet) v")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_docker_stores_rundlet_reads(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt")
    from tests.conftest import docker_programs, lacking
    from tests.engines import Engine

    if not docker_programs():
        lacking("no docker command line")
    helper = Helper(tmp_path)
    users = tmp_path / "htpasswd"
    users.write_text(HTPASSWD)
    engine = Engine().start()
    try:
        configuration = engine.directory / "docker-config"
        configuration.mkdir()
        (configuration / "config.json").write_text('{"credsStore": "rundlet"}')
        with own_registry(tmp_path / "root", "--htpasswd", str(users)) as running:
            environment = {**engine.environment(), "PATH": helper.environment["PATH"]}
            archive = tmp_path / "empty.tar"
            archive.write_bytes(bytes(10240))
            name = f"{running.address}/kept:1"

            def run(*arguments: str, program: str = "", stdin: str = "") -> subprocess.CompletedProcess[str]:
                command = [program] if program else [sys.executable, "-m", "rundlet"]
                return subprocess.run(
                    [*command, *arguments], input=stdin, capture_output=True, text=True, env=environment, check=False
                )

            run("import", str(archive), name)
            login = ("login", "-u", USER, "--password-stdin", running.address)
            for first, second in (("", docker_programs()[0]), (docker_programs()[0], "")):
                done = run(*login, program=first, stdin=PASSWORD)
                assert done.returncode == 0, done.stderr
                assert "WARNING" not in done.stderr
                assert PASSWORD not in (configuration / "config.json").read_text()
                assert run("push", name, program=second).returncode == 0
                assert run("logout", running.address, program=second).returncode == 0
                assert helper("get", running.address)[0] == 1
                assert run("push", name, program=first).returncode == 1
    finally:
        engine.stop()
