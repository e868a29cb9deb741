"""``build`` as users call it: our command line, Docker's, docker-py, Compose; what goes in, what comes out."""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
from tests.conftest import docker_programs, need
from tests.engines import Done, Engine, wait_for

from rundlet.oci.platform import Platform

# docker-py leaves sockets of finished streams to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CLASSIC = {"DOCKER_BUILDKIT": "0"}
FILE = """\
FROM busybox AS base
ARG who=world
ENV GREETING="hello $who"
COPY file sub/ /dst/
RUN echo "$GREETING" > /greeting
FROM base
CMD ["cat", "/greeting", "/dst/file", "/dst/inner"]
"""


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text(FILE)
    (root / "file").write_text("a file\n")
    (root / "sub/inner").write_text("an inner file\n")
    return root


def build(
    engine: Engine, *words: str | Path, stdin: str | bytes | None = None, env: dict[str, str] | None = None
) -> Done:
    return engine.cli("build", "--progress=plain", *map(str, words), stdin=stdin, env=env)


def built(engine: Engine, *words: str | Path, stdin: str | bytes | None = None) -> str:
    """The image that came of it."""
    done = engine.cli("build", "-q", *map(str, words), stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("sha256:")
    return done.stdout.strip()


def run_of(engine: Engine, image: str, *words: str) -> str:
    return engine.ok("run", "--rm", image, *words)


# ── the clients ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("program", docker_programs() or [""], ids=lambda path: path.strip("/").replace("/", "-"))
def test_dockers_command_line(engine: Engine, context: Path, program: str) -> None:
    command = [program or need("docker"), "build", "-t", "classic:1", "--build-arg", "who=docker", str(context)]
    done = engine.run_command(command, env=CLASSIC)
    assert done.returncode == 0, done.stderr
    assert "Step 1/7 : FROM busybox AS base\n" in done.stdout
    assert "Successfully tagged classic:1\n" in done.stdout
    assert run_of(engine, "classic:1") == "hello docker\na file\nan inner file"
    again = engine.run_command(command, env=CLASSIC).stdout
    assert again.count(" ---> Using cache\n") == 5
    elsewhere = context.parent / "Elsewhere"
    elsewhere.write_text("FROM busybox\nCOPY . /all\nRUN ls -A /all > /names\n")
    for words, stdin in ((["-f", str(elsewhere)], ""), (["-f", "-"], elsewhere.read_text())):
        image = engine.run_command([*command[:2], "-q", *words, str(context)], env=CLASSIC, stdin=stdin).stdout.strip()
        assert run_of(engine, image, "cat", "/names").split() == ["Dockerfile", "file", "sub"]
    failing = engine.run_command([*command[:2], "-"], env=CLASSIC, stdin="FROM busybox\nRUN echo out; exit 5\n")
    assert failing.returncode == 5
    assert "out\n" in failing.stdout
    assert "The command '/bin/sh -c echo out; exit 5' returned a non-zero code: 5" in failing.stderr
    wrong = engine.run_command([*command[:2], "-"], env=CLASSIC, stdin="FROM busybox\nRUNN x\n")
    assert wrong.returncode == 1
    assert "Error response from daemon: dockerfile parse error on line 2: unknown instruction: RUNN" in wrong.stderr


def test_docker_py(engine: Engine, context: Path) -> None:
    client = docker.DockerClient(base_url=engine.host, timeout=60)
    try:
        image, log = client.images.build(path=str(context), tag="py:1", buildargs={"who": "py"}, labels={"a": "b"})
        assert image.tags == ["py:1"]
        assert image.labels == {"a": "b"}
        assert [line["stream"] for line in log if "Success" in line.get("stream", "")] == [
            f"Successfully built {image.short_id.removeprefix('sha256:')[:12]}\n",
            "Successfully tagged py:1\n",
        ]
        assert client.containers.run("py:1", remove=True) == b"hello py\na file\nan inner file\n"
        with pytest.raises(docker.errors.BuildError) as failed:
            client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 4\n"))
        assert failed.value.msg == "The command '/bin/sh -c exit 4' returned a non-zero code: 4"
        with pytest.raises(docker.errors.APIError) as refused:
            client.images.build(fileobj=io.BytesIO(b"FROM busybox\nCOPY x\n"))
        assert refused.value.status_code == 400
    finally:
        client.close()


def test_compose(engine: Engine, context: Path) -> None:
    program = need("docker-compose")
    (context.parent / "docker-compose.yml").write_text(
        "version: '3.8'\nservices:\n  app:\n    image: composed:1\n    build:\n      context: ./context\n"
        "      args: {who: compose}\n"
    )
    done = engine.run_command([program, "build"], cwd=context.parent, env={"COMPOSE_DOCKER_CLI_BUILD": "0", **CLASSIC})
    assert done.returncode == 0, done.stderr
    assert run_of(engine, "composed:1") == "hello compose\na file\nan inner file"


# ── what goes in ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_image_whatever_way_the_context_comes(engine: Engine, context: Path) -> None:
    image = built(engine, context)
    assert run_of(engine, image) == "hello world\na file\nan inner file"
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        archive.add(context, ".")
    assert built(engine, "-", stdin=memory.getvalue()) == image
    assert built(engine, "--compress", context) == image
    elsewhere = context.parent / "Elsewhere"
    (context / "Dockerfile").rename(elsewhere)
    assert built(engine, "-f", elsewhere, context) == image
    assert built(engine, "-f", "-", context, stdin=FILE) == image


def test_what_is_ignored_is_not_there(engine: Engine, context: Path) -> None:
    (context / ".dockerignore").write_text("Dockerfile\n.dockerignore\nsub\n!sub/inner\n")
    (context / "sub/other").write_text("x")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN find /all -type f | sort\n")
    done = build(engine, context)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stderr.splitlines() if " /all/" in line] == [
        "/all/file",
        "/all/sub/inner",
    ]
    elsewhere = build(engine, "--no-cache", "-f", "-", context, stdin=(context / "Dockerfile").read_text())
    assert ".dockerfile." not in elsewhere.stderr
    (context / "Dockerfile").write_text("FROM busybox\nCOPY sub/other /\n")
    failed = build(engine, context)
    assert failed.returncode == 1
    assert "   2 | >>> COPY sub/other /\n" in failed.stderr
    assert '"/sub/other": not found' in failed.stderr or "file does not exist" in failed.stderr


def test_secrets_reach_the_step_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-very-secret")
    file = (
        "FROM busybox\n"
        "RUN --mount=type=secret,id=token wc -c < /run/secrets/token > /size\n"
        "RUN --mount=type=secret,id=token,env=TOKEN echo ${#TOKEN} >> /size\n"
        "RUN ! ls /run/secrets\n"
    )
    image = built(engine, "--secret", f"id=token,src={tmp_path}/token", "-", stdin=file)
    assert run_of(engine, image, "cat", "/size").split() == ["15", "15"]
    saved = tmp_path / "image.tar"
    engine.ok("save", "-o", str(saved), image)
    assert b"the-very-secret" not in saved.read_bytes()
    assert "the-very-secret" not in engine.ok("history", "--no-trunc", image)
    missing = build(engine, "-", stdin="FROM busybox\nRUN --mount=type=secret,id=x,required cat /run/secrets/x\n")
    assert missing.returncode == 1
    assert "secret" in missing.stderr


@contextlib.contextmanager
def answering_agent(path: Path) -> Iterator[None]:
    """Something at ``path`` that takes connections and answers each line in capitals."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(100).upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def perl_tree(target: Path) -> None:
    """This machine's perl with all it needs: what can speak to a socket of an agent, in an image of busybox."""
    perl = Path(need("perl")).resolve()
    linked = subprocess.run(["ldd", perl], capture_output=True, text=True, check=True).stdout
    base = subprocess.run(
        [perl, "-MSocket", "-e", "print join ' ', values %INC"], capture_output=True, text=True, check=True
    )
    objects = subprocess.run(
        [perl, "-MSocket", "-MDynaLoader", "-e", "print join ' ', @DynaLoader::dl_shared_objects"],
        capture_output=True,
        text=True,
        check=True,
    )
    libraries = [word for word in linked.split() if word.startswith("/")]
    for name in [str(perl), *libraries, *base.stdout.split(), *objects.stdout.split()]:
        path = target / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, path)


def test_an_agent_is_lent(engine: Engine, tmp_path: Path) -> None:
    perl_tree(tmp_path / "perl")
    (tmp_path / "perl/ask").write_text(
        "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0) or die; connect(S, sockaddr_un($ENV{SSH_AUTH_SOCK})) or die;"
        'syswrite(S, "question\\n"); print scalar <S>;'
    )
    program = Path(need("perl")).resolve()
    file = (
        "FROM busybox\nCOPY --from=perl / /\n"
        f"RUN --mount=type=ssh {program} /ask > /one && {program} /ask > /two\n"
        'RUN test -z "$SSH_AUTH_SOCK"\n'
    )
    with answering_agent(tmp_path / "agent"):
        words = ["--build-context", f"perl={tmp_path}/perl", "--ssh", f"default={tmp_path}/agent"]
        image = built(engine, *words, "-", stdin=file)
    assert run_of(engine, image, "cat", "/one", "/two") == "QUESTION\nQUESTION"


def test_other_contexts(engine: Engine, context: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/o").write_text("other\n")
    file = "FROM base\nCOPY --from=more o /o\nRUN --mount=type=bind,from=more,target=/m cat /m/o >> /o\n"
    words = ["--build-context", f"more={tmp_path}/other", "--build-context", "base=docker-image://busybox"]
    assert run_of(engine, built(engine, *words, "-", stdin=file), "cat", "/o") == "other\nother"


def test_of_another_context_only_what_has_changed_is_sent_again(engine: Engine, tmp_path: Path) -> None:
    """What is sent is seen by what the engine keeps; what is built is what there is."""
    root, out = tmp_path / "other", tmp_path / "out"
    for number in range(250):
        path = root / f"d{number % 5}/f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}")
    file = "FROM scratch\nCOPY --from=more . /all\nCOPY --from=more d1 /one\n"

    def kept() -> list[int]:
        command = ["curl", "-s", "--unix-socket", engine.socket, "http://d/system/df?type=build-cache"]
        records = json.loads(engine.run_command(command).stdout)["BuildCache"]
        return [record["UsageCount"] for record in records if record["Type"] == "source.local"]

    engine.ok("builder", "prune", "-af")

    for turn in range(1, 4):
        done = build(engine, "-o", out, "--build-context", f"more={root}", "-", stdin=file)
        assert done.returncode == 0, done.stderr
        assert files_below(out / "all") == files_below(root)
        assert files_below(out / "one") == files_below(root / "d1")
        assert kept() == [turn]
        shutil.rmtree(out)
        (root / "d1/f1").write_text(f"changed {turn}")
        (root / f"d2/f{turn * 5 + 2}").unlink()
        (root / f"new{turn}").write_text("new")
    # What one build uses another can't: it is sent all.
    words = ["--build-context", f"more={root}", "--build-context", f"more={root}", "--build-context", f"also={root}"]
    done = build(engine, "-o", out, *words, "-", stdin=f"{file}COPY --from=also d0 /zero\n")
    assert done.returncode == 0, done.stderr
    assert files_below(out / "zero") == files_below(root / "d0")
    assert sorted(kept()) == [1, 1]


def test_a_context_in_an_oci_layout(engine: Engine, tmp_path: Path) -> None:
    layout = f"{tmp_path}/layout"
    file = "FROM scratch\nARG TARGETARCH\nCOPY <<EOF /made-for\n${TARGETARCH}\nEOF\n"
    output = f"type=oci,tar=false,dest={layout}"
    made = build(engine, "-t", "laid:old", "-o", output, "--platform", "linux/amd64,linux/arm64", "-", stdin=file)
    assert made.returncode == 0, made.stderr
    engine.ok("rmi", "-f", "laid:old")
    engine.ok("builder", "prune", "-af")
    file = "FROM base\nCOPY --from=base /made-for /again\n"
    digest = json.loads(Path(layout, "index.json").read_text())["manifests"][0]["digest"]
    for place, platform in ((layout, "arm64"), (f"{layout}:old", "amd64"), (f"{layout}@{digest}", "arm64")):
        words = ["--platform", f"linux/{platform}", "--build-context", f"base=oci-layout://{place}"]
        done = build(engine, "-o", tmp_path / platform, *words, "-", stdin=file)
        assert done.returncode == 0, done.stderr
        assert files_below(tmp_path / platform) == {"made-for": f"{platform}\n", "again": f"{platform}\n"}
    # What is only looked at gets no name here, and none of the layout's.
    assert "laid" not in engine.ok("image", "ls", "-a", "--format", "{{.Repository}}").split()
    for wrong in (f"{layout}:new@sha256:00", f"{tmp_path}/nothing"):
        done = build(engine, "--build-context", f"base=oci-layout://{wrong}", "-", stdin=file)
        assert done.returncode == 1
        assert wrong in done.stderr
    Path(layout, "index.json").write_text("{")
    done = build(engine, "--build-context", f"base=oci-layout://{layout}", "-", stdin=file)
    assert "not JSON" in done.stderr


def test_git(engine: Engine, context: Path) -> None:
    need("git")
    env = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}

    def git(*words: str) -> None:
        command = ["git", "-c", "init.defaultBranch=main", *words]
        subprocess.run(command, cwd=context, check=True, capture_output=True, env={**os.environ, **env})

    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listening = ["--listen=127.0.0.1", f"--port={port}", "--export-all", f"--base-path={context.parent}", "--reuseaddr"]
    server = subprocess.Popen(["git", "daemon", "--verbose", *listening], stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        while "Ready to rumble" not in server.stderr.readline():
            assert server.poll() is None
        image = built(engine, f"git://127.0.0.1:{port}/context/.git#main")
    finally:
        server.terminate()
        server.communicate(timeout=60)
    assert run_of(engine, image) == "hello world\na file\nan inner file"


def files_below(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in root.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def bytes_sent(stderr: str) -> float:
    text = next(line.split()[-2] for line in stderr.splitlines() if "transferring context:" in line and "done" in line)
    units = {"MB": 1e6, "kB": 1e3, "B": 1}
    return next(float(text.removesuffix(unit)) * size for unit, size in units.items() if text.endswith(unit))


def test_only_what_has_changed_is_sent_again(engine: Engine, tmp_path: Path) -> None:
    root, out = tmp_path / "many", tmp_path / "out"
    for number in range(300):
        path = root / f"d{number % 7}/f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} " * 2000)
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . /all\nCOPY d1 /one\n")
    # What has just changed is sent again, for it may have changed once more.
    old = time.time() - 10

    def round_of(message: str) -> float:
        wait_for(lambda: time.time() > old + 10.3, 5)
        done = build(engine, "-o", out, root)
        assert done.returncode == 0, (message, done.stderr)
        assert files_below(out / "all") == files_below(root), message
        assert files_below(out / "one") == files_below(root / "d1"), message
        shutil.rmtree(out)
        return bytes_sent(done.stderr)

    assert round_of("first") > 1_000_000
    assert round_of("unchanged") < 10_000
    (root / "d1/f1").write_text("changed")
    (root / "d2/f2").unlink()
    shutil.rmtree(root / "d3")
    (root / "d3").write_text("a file now")
    (root / "d4/f4").unlink()
    (root / "d4/f4").mkdir()
    (root / "d4/f4/inside").write_text("a directory now")
    (root / "d5").rename(root / "d9")
    (root / "new/deep").mkdir(parents=True)
    (root / "new/deep/file").write_text("new")
    (root / "link").symlink_to("d1/f1")
    os.utime(root / "d6/f6", (1, 1))
    old = time.time() - 10
    assert round_of("much changed") < 1_000_000
    (root / "link").unlink()
    (root / "link").symlink_to("d1")
    (root / "d1/f8").write_text("behind a link")
    (root / ".dockerignore").write_text("d6\nDockerfile\n.dockerignore\n")
    old = time.time() - 10
    wait_for(lambda: time.time() > old + 10.3, 5)
    done = build(engine, "-o", out, root)
    assert done.returncode == 0, done.stderr
    expected = {name: text for name, text in files_below(root).items() if not name.startswith(("d6", "D", ".d"))}
    assert files_below(out / "all") == expected
    assert bytes_sent(done.stderr) < 50_000


def test_two_builds_of_one_directory_at_a_time(engine: Engine, tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(300):
        (root / f"f{number}").write_text(f"{number} " * 100)
    (root / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN cat /all/f* | md5sum > /sum\n")
    built(engine, root)
    both = [engine.popen("build", "-q", "--no-cache", str(root)) for _ in range(2)]
    results = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    sums = {run_of(engine, out.decode().strip(), "cat", "/sum") for out, _ in results}
    assert len(sums) == 1


# ── what comes out ───────────────────────────────────────────────────────────────────────────────────────────


def test_plain_progress(engine: Engine, context: Path) -> None:
    done = build(engine, "--no-cache", "-t", "plain:1", context)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert any(line.endswith('RUN echo "$GREETING" > /greeting') for line in lines)
    assert any(line.endswith("naming to docker.io/library/plain:1 done") for line in lines)
    again = build(engine, context).stderr
    assert sum(line.endswith(" CACHED") for line in again.splitlines()) == 2


def test_raw_progress(engine: Engine, context: Path) -> None:
    done = engine.cli("build", "--progress=rawjson", str(context))
    messages = [json.loads(line) for line in done.stderr.splitlines()]
    names = {vertex["name"] for message in messages for vertex in message.get("vertexes") or ()}
    assert any(name.endswith("COPY file sub/ /dst/") for name in names)


def test_a_failure_shows_the_lines_around_it(engine: Engine) -> None:
    done = build(engine, "-", stdin="FROM busybox\nRUN true\nRUN echo last words; \\\n  exit 7\nRUN never\n")
    assert done.returncode == 1
    assert "last words\n------\nDockerfile:3\n" in done.stderr
    assert "   3 | >>> RUN echo last words; \\\n   4 | >>>   exit 7\n   5 |     RUN never\n" in done.stderr
    assert "ERROR: failed to build: failed to solve: " in done.stderr.splitlines()[-1]
    assert "7" in done.stderr.splitlines()[-1]
    wrong = build(engine, "-", stdin="FROM busybox\nRUNN x\n").stderr
    assert "   2 | >>> RUNN x\n" in wrong
    assert wrong.splitlines()[-1] == (
        "ERROR: failed to build: failed to solve: dockerfile parse error on line 2: unknown instruction: RUNN "
        "(did you mean RUN?)"
    )


def test_files_about_the_result(engine: Engine, context: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["--iidfile", tmp_path / "id", "--metadata-file", tmp_path / "meta", context]
    image = built(engine, *words)
    assert (tmp_path / "id").read_text() == image
    assert json.loads((tmp_path / "meta").read_text())["containerimage.config.digest"] == image


def test_results_come_to_this_side(engine: Engine, context: Path, tmp_path: Path) -> None:
    assert build(engine, "-o", tmp_path / "tree", context).returncode == 0
    assert (tmp_path / "tree/dst/inner").read_text() == "an inner file\n"
    assert build(engine, "-o", f"type=tar,dest={tmp_path}/t.tar", context).returncode == 0
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert "greeting" in {name.removeprefix("./") for name in archive.getnames()}
    for kind in ("oci", "docker"):
        path = tmp_path / f"{kind}.tar"
        assert build(engine, "-t", "out:1", "-o", f"type={kind},dest={path}", context).returncode == 0
        assert "out:1" in engine.ok("load", "-i", str(path))


def test_statements_about_the_result(engine: Engine, tmp_path: Path) -> None:
    file = (
        "FROM busybox\nARG token\n"
        "COPY <<EOF /var/lib/dpkg/status\nPackage: bash\nStatus: install ok installed\nVersion: 5.2-1\n"
        "Architecture: amd64\nEOF\n"
        'COPY <<EOF /etc/os-release\nID="debian"\nEOF\n'
    )
    words = ["-t", "stated:1", "--sbom=true", "--provenance=mode=max", "--build-arg", "token=shown"]
    words += ["--metadata-file", str(tmp_path / "meta"), "-"]
    assert build(engine, *words, stdin=file).returncode == 0
    engine.ok("save", "-o", str(tmp_path / "stated.tar"), "stated:1")
    with tarfile.open(tmp_path / "stated.tar") as archive:

        def document(digest: str) -> Any:
            member = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            return json.loads(member.read())

        top = archive.extractfile("index.json")
        assert top is not None
        digest = json.loads(top.read())["manifests"][0]["digest"]
        assert json.loads((tmp_path / "meta").read_text())["containerimage.digest"] == digest
        image, attested = document(digest)["manifests"]
        assert attested["platform"] == {"architecture": "unknown", "os": "unknown"}
        assert attested["annotations"]["vnd.docker.reference.digest"] == image["digest"]
        statements = {
            layer["annotations"]["in-toto.io/predicate-type"]: document(layer["digest"])
            for layer in document(attested["digest"])["layers"]
        }
    assert {one["subject"][0]["digest"]["sha256"] for one in statements.values()} == {image["digest"][7:]}
    bill = statements["https://spdx.dev/Document"]["predicate"]
    assert [(one["name"], one["versionInfo"]) for one in bill["packages"]] == [("bash", "5.2-1")]
    assert bill["packages"][0]["externalRefs"][0]["referenceLocator"] == "pkg:deb/debian/bash@5.2-1?arch=amd64"
    origin = statements["https://slsa.dev/provenance/v0.2"]["predicate"]
    assert origin["materials"][0]["uri"].startswith("pkg:docker/busybox@latest?platform=linux%2F")
    assert origin["invocation"]["parameters"]["args"] == {"build-arg:token": "shown"}
    # Without mode=max values of arguments stay at home.
    less = ["-t", "stated:2", "--provenance=true", "--build-arg", "token=hidden", "-"]
    assert build(engine, *less, stdin=file).returncode == 0
    engine.ok("save", "-o", str(tmp_path / "less.tar"), "stated:2")
    assert b"build-arg:token" not in (tmp_path / "less.tar").read_bytes()
    refused = build(engine, "--sbom=generator=x", "-", stdin=file)
    assert "generator of the attestation sbom is not supported by Rundlet" in refused.stderr


def test_annotations(engine: Engine, tmp_path: Path) -> None:
    words = ["--annotation", "a=b", "--annotation", "index:c=d:e", "--annotation", "manifest-descriptor:f=g"]
    words += ["--annotation", f"manifest[{Platform.host()}]:here=1", "--annotation", "manifest[linux/s390x]:there=1"]
    assert build(engine, "-t", "noted:1", *words, "-", stdin="FROM busybox\nENV x=1\n").returncode == 0
    engine.ok("save", "-o", str(tmp_path / "noted.tar"), "noted:1")
    with tarfile.open(tmp_path / "noted.tar") as archive:
        texts = {member.name: archive.extractfile(member) for member in archive if member.isreg()}
        read = {name: file.read() for name, file in texts.items() if file is not None}
    documents = {name: json.loads(data) for name, data in read.items() if data.startswith(b"{")}
    index = next(one for name, one in documents.items() if "manifests" in one and name != "index.json")
    assert index["annotations"] == {"c": "d:e"}
    entry = index["manifests"][0]
    assert entry["annotations"] == {"f": "g"}
    manifest = documents[f"blobs/{entry['digest'].replace(':', '/')}"]
    assert manifest["annotations"] == {"a": "b", "here": "1"}
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    engine.ok("rmi", "noted:1")
    engine.ok("load", "-i", str(tmp_path / "noted.tar"))
    assert run_of(engine, "noted:1", "sh", "-c", "echo $x") == "1"
    refused = build(engine, "--annotation", "index-descriptor:a=b", "-", stdin="FROM busybox\n")
    assert "an annotation of index-descriptor is not supported by Rundlet" in refused.stderr


def test_several_platforms(engine: Engine, tmp_path: Path) -> None:
    file = (
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /made-for\n"
        "FROM scratch\nCOPY --from=tools /made-for /\n"
    )
    kinds = "linux/amd64,linux/arm64,linux/arm/v7"
    done = build(engine, "-t", "several:1", "--platform", kinds, "--provenance=true", "-", stdin=file)
    assert done.returncode == 0, done.stderr
    assert "[linux/arm64 tools 2/2] RUN echo $TARGETPLATFORM > /made-for" in done.stderr
    engine.ok("save", "-o", str(tmp_path / "several.tar"), "several:1")
    with tarfile.open(tmp_path / "several.tar") as archive:
        texts = {member.name: archive.extractfile(member) for member in archive if member.isreg()}
        read = {name: file.read() for name, file in texts.items() if file is not None}
    indexes = [json.loads(data) for name, data in read.items() if name.startswith("blobs/") and b'"manifests"' in data]
    found = [entry["platform"]["architecture"] for entry in indexes[0]["manifests"]]
    assert sorted(found[:3]) == ["amd64", "arm", "arm64"]
    assert found[3:] == ["unknown"] * 3
    assert engine.ok("image", "inspect", "-f", "{{.Architecture}}", "--platform", "linux/arm64", "several:1") == "arm64"
    one = build(engine, "-o", tmp_path / "out", "--platform", "linux/arm64", "-", stdin=file)
    assert one.returncode == 0, one.stderr
    assert (tmp_path / "out/made-for").read_text() == "linux/arm64\n"
    each = build(engine, "-o", tmp_path / "each", "--platform", kinds, "-", stdin=file)
    assert each.returncode == 0, each.stderr
    assert files_below(tmp_path / "each") == {
        f"{name.replace('/', '_')}/made-for": f"{name}\n" for name in kinds.split(",")
    }
    # Several results of several platforms; without a name they are one index all the same.
    outputs = [f"type=tar,dest={tmp_path}/x.tar", f"type=oci,tar=false,dest={tmp_path}/layout"]
    words = [word for output in outputs for word in ("-o", output)]
    both = build(engine, *words, "--platform", kinds, "-", stdin=file)
    assert both.returncode == 0, both.stderr
    with tarfile.open(tmp_path / "x.tar") as archive:
        members = {name: archive.extractfile(name) for name in archive.getnames() if name.endswith("made-for")}
        contents = {name: member.read().decode() for name, member in members.items() if member is not None}
    assert contents == {f"{name.replace('/', '_')}/made-for": f"{name}\n" for name in kinds.split(",")}
    (top,) = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    listed = json.loads((tmp_path / "layout/blobs" / top["digest"].replace(":", "/")).read_text())["manifests"]
    assert sorted(entry["platform"]["architecture"] for entry in listed) == ["amd64", "arm", "arm64"]
    split = build(engine, "-o", f"type=tar,dest={tmp_path}/y.tar,platform-split=true", "-", stdin=file)
    assert split.returncode == 0, split.stderr
    with tarfile.open(tmp_path / "y.tar") as archive:
        assert archive.getnames() == ["linux_amd64", "linux_amd64/made-for"]
    flat = f"type=local,dest={tmp_path}/flat,platform-split=false"
    refused = build(engine, "-o", flat, "--platform", kinds, "-", stdin=file)
    assert "platform-split=false of several platforms is not supported by Rundlet" in refused.stderr
    wrong = build(engine, "--platform", "linux/nothing/x/y", "-", stdin=file)
    assert wrong.returncode == 1


def test_what_else_is_asked_instead_of_a_build(engine: Engine) -> None:
    file = "# base where all begins\nFROM busybox AS base\n# MODE how to run\nARG MODE=fast\nRUN exit 3\n"

    def call(kind: str, *words: str) -> str:
        return engine.cli("build", "--call", kind, *words, "-", stdin=file).stdout

    assert call("targets") == "TARGET         DESCRIPTION\nbase (default) where all begins\n"
    about = "TARGET:      base\nDESCRIPTION: where all begins\n\n"
    table = "BUILD ARG   VALUE   DESCRIPTION\nMODE        slow    how to run\n\n"
    assert call("outline", "--build-arg", "MODE=slow") == about + table
    assert json.loads(call("outline,format=json"))["args"][0]["name"] == "MODE"
    assert json.loads(call("check,format=json"))["warnings"] is None
    assert "frontend.outline" in call("subrequests.describe,format=json")
    refused = engine.cli("build", "--call", "sing", "-", stdin=file)
    assert (refused.returncode, refused.stderr) == (1, "--call=sing is not supported by Rundlet\n")


def test_check(engine: Engine, context: Path) -> None:
    done = engine.cli("build", "--check", str(context))
    assert (done.returncode, done.stdout) == (0, "Check complete, no warnings found.\n")
    (context / "Dockerfile").write_text("FROM busybox\nCMD cat\n")
    done = engine.cli("build", "--check", str(context))
    assert done.returncode == 1
    assert done.stdout.startswith("Check complete, 1 warning has been found!\n\nWARNING: JSONArgsRecommended - ")
    assert "   2 | >>> CMD cat\n" in done.stdout


def test_style_is_spoken_of_and_may_be_insisted_on(engine: Engine) -> None:
    done = build(engine, "-", stdin="FROM busybox\nCMD cat\n")
    assert done.returncode == 0
    assert "\n 1 warning found (use --check to see where):\n - JSONArgsRecommended: JSON arguments " in done.stderr
    assert "(line 2)\n" in done.stderr
    done = build(engine, "-", stdin="# check=error=true\nFROM busybox\nCMD cat\n")
    assert done.returncode == 1
    assert "(line 3)\n" in done.stderr
    assert "lint violation found for rules: JSONArgsRecommended\n" in done.stderr
    assert build(engine, "-", stdin="# check=skip=all;error=true\nFROM busybox\nCMD cat\n").returncode == 0
    undefined = engine.cli("build", "--check", "-", stdin="FROM busybox\nENV A=$NOT_THERE\n").stdout
    assert "Usage of undefined variable '$NOT_THERE'" in undefined


def test_ctrl_c_ends_the_build_at_once(engine: Engine) -> None:
    process = engine.popen("build", "--progress=plain", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"FROM busybox\nRUN echo begun; exec sleep 4321\n")
    process.stdin.close()
    while b"begun" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stderr.close()
    assert process.stdout is not None
    process.stdout.close()

    def sleeping() -> bool:
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and b"sleep\x004321\x00" in (entry / "cmdline").read_bytes():
                    return True
        return False

    wait_for(lambda: not sleeping(), 20, hint="the step's process ends with the build")


def test_the_cache_is_shown_and_pruned(engine: Engine, context: Path) -> None:
    built(engine, context)
    shown = engine.ok("builder", "du")
    assert shown.splitlines()[0].split() == ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"]
    assert shown.splitlines()[-1].startswith("Total:")
    assert "Description:" in engine.ok("buildx", "du", "--verbose")
    pruned = engine.ok("builder", "prune", "--all", "--force")
    assert "Total reclaimed space: " in pruned
    assert len(engine.ok("builder", "du").splitlines()) == 2
