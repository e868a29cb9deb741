"""Private git repositories as contexts and in ADD."""

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import need
from tests.e2e.building import Context
from tests.e2e.buildx import Files, buildx
from tests.engines import Engine
from tests.webserver import QuietFiles, serving_files

from rundlet.transport.http2.grpc import CallError

TOKEN = "letmein"
LOGIN = f"basic {base64.b64encode(f'x-access-token:{TOKEN}'.encode()).decode()}"
GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


@contextmanager
def served(directory: Path, login: str) -> Iterator[str]:
    """``directory`` for who logs in so; the server's address."""

    class Handler(QuietFiles):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == login:
                super().do_GET()
            else:
                self.send_error(401)

    with serving_files(directory, Handler) as url:
        yield url.removeprefix("http://")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """What a web server shows of ``private.git``."""
    need("git")
    work, shown = tmp_path / "work", tmp_path / "shown"
    work.mkdir()
    shown.mkdir()
    (work / "Dockerfile").write_text("FROM busybox\nCOPY said /said\nCMD cat /said\n")
    (work / "said").write_text("private words\n")

    def git(*words: str, cwd: Path = work) -> None:
        command = ["git", "-c", "init.defaultBranch=main", *words]
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, env={**os.environ, **GIT})

    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    git("clone", "--bare", str(work), str(shown / "private.git"))
    git("update-server-info", cwd=shown / "private.git")
    return shown


def test_a_token_opens_a_repository(engine: Engine, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with served(repository, LOGIN) as address:
        url = f"http://{address}/private.git#main"
        closed = engine.cli("build", "--progress=plain", url)
        assert closed.returncode == 1
        assert "failed to fetch the git repository" in closed.stderr
        lent = f"id=GIT_AUTH_TOKEN,src={tmp_path / 'token'}"
        done = engine.cli("build", "--progress=plain", "-t", "private:1", "--secret", lent, url)
        assert done.returncode == 0, done.stderr
        assert engine.ok("run", "--rm", "private:1") == "private words"
        # One that is for another server opens nothing.
        other = f"id=GIT_AUTH_TOKEN.other.example,src={tmp_path / 'token'}"
        assert engine.cli("build", "--progress=plain", "--secret", other, f"{url}:").returncode == 1
        context = Context(engine, tmp_path / "context")
        context.dockerfile(f"FROM busybox\nADD http://{address}/private.git /p\nRUN cat /p/said; env\n")
        named = f"id=GIT_AUTH_TOKEN.{address},src={tmp_path / 'token'}"
        out = context.ok("--secret", named)
    assert "private words" in out
    assert TOKEN not in done.stderr + closed.stderr + out
    engine.ok("rmi", "private:1")


async def test_a_context_keeps_its_metadata_when_it_is_told_to(engine: Engine, repository: Path) -> None:
    (work := repository.parent / "work" / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN ls -A /all\n")
    git = ["git", "-C", str(work.parent)]
    subprocess.run([*git, "commit", "-am", "y"], check=True, capture_output=True, env={**os.environ, **GIT})
    subprocess.run([*git, "push", str(repository / "private.git"), "main"], check=True, capture_output=True)
    subprocess.run(["git", "-C", str(repository / "private.git"), "update-server-info"], check=True)
    header = ("--secret", "id=GIT_AUTH_HEADER,env=HEADER")
    with served(repository, LOGIN) as address:
        url = f"http://{address}/private.git#main"
        for words, kept in (((), False), (("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"), True)):
            done = engine.cli("build", "--progress=plain", *header, *words, url, env={"HEADER": LOGIN})
            assert done.returncode == 0, done.stderr
            assert (" .git\n" in done.stderr) is kept
        attributes = {"context": url, "build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1", "no-cache": ""}
        secrets = {f"GIT_AUTH_HEADER.{address}": LOGIN.encode()}
        files = Files({"context": repository, "dockerfile": repository})
        async with buildx(engine.socket, files, secrets=secrets) as client:
            await client.solve("r3", attributes)
            assert b".git\n" in client.log


async def test_buildkits_clients_lend_it(engine: Engine, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    with served(repository, "Bearer whole") as address:
        text = f"FROM busybox\nADD http://{address}/private.git#main /p\nRUN cat /p/said\n"
        (tmp_path / "context/Dockerfile").write_text(text)
        files = Files({"context": tmp_path / "context", "dockerfile": tmp_path / "context"})
        async with buildx(engine.socket, files) as client:
            with pytest.raises(CallError, match="failed to fetch the git repository"):
                await client.solve("r1", {})
        secrets = {f"GIT_AUTH_HEADER.{address}": b"Bearer whole", "GIT_AUTH_TOKEN": b"another"}
        async with buildx(engine.socket, files, secrets=secrets) as client:
            await client.solve("r1", {})
            assert client.log.endswith(b"private words\n")
            await client.solve("r2", {"context": f"http://{address}/private.git#main"})
            assert client.steps["[2/2] COPY said /said"] == "done"


def test_what_a_repository_does_not_have(engine: Engine, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with served(repository, LOGIN) as address:
        for words, said in (
            (f"http://{address}/private.git#none", 'repository does not contain ref none, output: ""'),
            (f"http://{address}/private.git?branch=none", "repository does not contain ref refs/heads/none"),
            (f"http://{address}/private.git?tag=a#b", 'ref conflicts: "b" vs "refs/tags/a"'),
            (f"--checksum=foobar http://{address}/private.git", 'invalid checksum "foobar", expected hex commit hash'),
        ):
            secret = f"id=GIT_AUTH_TOKEN,src={tmp_path / 'token'}"
            done = engine.cli("build", "--secret", secret, "-", stdin=f"FROM scratch\nADD {words} /p\n")
            assert f"failed to solve: {said}" in done.stderr, done.stderr
