"""What RUN may have besides its image, outputs, and what is kept between builds."""

import email.utils
import hashlib
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.conftest import need
from tests.e2e.building import Context
from tests.engines import Engine, succeeded
from tests.webserver import QuietFiles, answering, serving_files
from tools.registry import Registry


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Iterator[Context]:
    yield Context(engine, tmp_path / "context")
    engine.cli("rmi", "-f", "t")
    engine.ok("image", "prune", "-f")
    engine.ok("builder", "prune", "-af")


def test_mounts(context: Context) -> None:
    context.dockerfile(
        "FROM busybox AS other\nRUN mkdir /o && echo other > /o/f\n"
        "FROM busybox\n"
        "RUN --mount=type=bind,source=dir,target=/b cat /b/f > /1; ! touch /b/new\n"
        "RUN --mount=type=bind,from=other,source=/o,target=/b,rw cat /b/f > /2; touch /b/new\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 > /3; touch /t/x\n"
        "RUN --mount=type=cache,target=/c,uid=7,mode=0700 stat -c '%u %a' /c > /4; echo x >> /c/n; wc -l < /c/n > /5\n"
    )
    context.write("dir/f", "from the context\n")
    context.ok("-t", "t")
    assert context.run("cat", "/1", "/2").splitlines() == ["from the context", "other"]
    assert "1024" in context.run("cat", "/3").split()
    assert context.run("cat", "/4", "/5").split() == ["7", "700", "1"]
    # Nothing of the mounts is in the image.
    for name in ("/b", "/t", "/c"):
        assert context.engine.cli("run", "--rm", "t", "ls", name).returncode != 0
    # The cache outlives the build.
    context.ok("-t", "t", "--no-cache")
    assert context.run("cat", "/5") == "2"
    kinds = {record["Type"] for record in _usage(context.engine)}
    assert kinds == {"regular", "exec.cachemount"}
    # What is bound decides the step's result.
    context.write("dir/f", "changed\n").ok("-t", "t")
    assert context.run("cat", "/1") == "changed"


def test_cache_mounts_of_other_owners_and_origins_are_others(context: Context) -> None:
    context.dockerfile(
        "FROM busybox AS seed\nARG WHAT=one\nRUN mkdir /s && echo $WHAT > /s/what\n"
        "FROM busybox AS last\n"
        "RUN --mount=type=cache,target=/c touch /c/plain\n"
        "RUN --mount=type=cache,target=/c,uid=7 ls /c > /a; touch /c/seven\n"
        "RUN --mount=type=cache,target=/c,uid=7 ls /c > /b\n"
        "RUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/what > /what; echo old > /c/what\n"
    )
    context.ok("-t", "t")
    assert context.run("cat", "/a", "/b", "/what").split() == ["seven", "one"]
    context.ok("-t", "t", "--build-arg", "WHAT=two")
    assert context.run("cat", "/what") == "two"
    context.ok("-t", "t", "--no-cache-filter", "last")
    assert context.run("cat", "/what") == "old"


def _usage(engine: Engine) -> list[dict[str, object]]:
    done = engine.run_command(["curl", "-s", "--unix-socket", engine.socket, "http://d/system/df?type=build-cache"])
    records: list[dict[str, object]] = json.loads(done.stdout)["BuildCache"]
    return records


def test_a_cache_mount_can_be_taken_elsewhere(context: Context, tmp_path: Path) -> None:
    context.dockerfile("FROM busybox\nRUN --mount=type=cache,id=x,target=/c mkdir /c/d && echo kept > /c/d/f\n").ok()
    context.dockerfile(
        "FROM busybox\nRUN --mount=type=cache,id=x,target=/c cp -a /c /out\nFROM scratch\nCOPY --from=0 /out /\n"
    )
    context.ok("-o", str(tmp_path / "out"))
    assert (tmp_path / "out/d/f").read_text() == "kept\n"
    context.dockerfile("FROM busybox\nRUN --mount=type=cache,id=y,from=old,target=/c cat /c/d/f > /seen\n")
    context.ok("-t", "t", "--build-context", f"old={tmp_path / 'out'}")
    assert context.run("cat", "/seen") == "kept"


def test_binds_of_a_stage(context: Context) -> None:
    context.dockerfile(
        "FROM busybox AS a\nRUN mkdir -p /d/e && echo hi > /d/e/f && ln -s /d/e /l\n"
        "FROM busybox\nRUN mkdir /out\n"
        "RUN --mount=type=bind,from=a,target=/m cat /m/d/e/f > /out/1; ! touch /m/x\n"
        "RUN --mount=type=bind,from=a,source=/d/e/f,target=/m/f cat /m/f > /out/2\n"
        "RUN --mount=type=bind,from=a,source=l,target=/m cat /m/f > /out/3\n"
        "RUN --mount=type=bind,from=a,source=/d/../d/e,target=/m,rw cat /m/f > /out/4; touch /m/x\n"
        "RUN --mount=type=bind,from=busybox,source=/bin,target=/m /m/busybox echo hi > /out/5\n"
    )
    context.ok("-t", "t")
    assert context.run("sh", "-c", "cat /out/*").split() == ["hi"] * 5
    # The stage is as it was.
    context.dockerfile("FROM busybox\nRUN --mount=type=bind,from=t,source=/none,target=/m ls\n")
    assert 'failed to calculate checksum of ref: "/none": not found' in context.build().stderr


def test_a_context_that_is_kept_is_in_the_cache(context: Context) -> None:
    context.write("large", b"x" * (2 << 20)).dockerfile("FROM busybox\nCOPY large /\n")
    for _ in range(2):
        context.ok()
    found = [record for record in _usage(context.engine) if record["Type"] == "source.local"]
    assert len(found) == 1
    assert (found[0]["UsageCount"], found[0]["Description"]) == (2, "local source for context")
    assert int(str(found[0]["Size"])) > 2 << 20
    assert "source.local" in context.engine.ok("builder", "du", "--verbose")
    context.engine.ok("builder", "prune", "-f", "--filter", "type=source.local")
    assert "source.local" not in {record["Type"] for record in _usage(context.engine)}
    context.ok()


def test_secrets_leave_no_trace(context: Context, tmp_path: Path) -> None:
    secret = "never-to-be-seen-4711"
    (tmp_path / "secret").write_text(secret)
    context.dockerfile(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=s cat /run/secrets/s | md5sum > /sum; stat -c %a /run/secrets/s > /mode\n"
        "RUN --mount=type=secret,id=s,target=/etc/s,mode=0444,uid=5 stat -c '%a %u' /etc/s >> /mode\n"
        "RUN --mount=type=secret,id=s,env=S echo ${#S} > /length\n"
        "RUN --mount=type=secret,id=none ls /run/secrets > /none 2>&1 || true\n"
    )
    context.ok("-t", "t", "--secret", f"id=s,src={tmp_path / 'secret'}")
    assert context.run("cat", "/mode", "/length").split() == ["400", "444", "5", str(len(secret))]
    found = context.engine.run_command(["grep", "-rlaF", secret, context.engine.layout.root, context.engine.layout.run])
    assert found.stdout == ""
    assert secret not in context.engine.log.read_text()
    context.dockerfile("FROM busybox\nRUN --mount=type=secret,id=x,required true\n")
    done = context.build()
    assert "secret x: not found" in done.stderr


def test_heredocs(context: Context) -> None:
    context.dockerfile(
        "FROM busybox\nRUN <<EOF\nset -e\nA=1\necho $A > /a\nEOF\n"
        "RUN <<E sh > /b\necho from sh\nE\n"
        "RUN <<SCRIPT\n#!/bin/busybox sh\necho $0 > /c\nSCRIPT\n"
    )
    context.ok("-t", "t")
    assert context.run("cat", "/a", "/b", "/c").splitlines() == ["1", "from sh", "/dev/pipes/SCRIPT"]


def test_network_of_a_step(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN --network=none ls /sys/class/net > /n\nRUN ls /sys/class/net > /d\n")
    context.ok("-t", "t")
    assert context.run("cat", "/n") == "lo"
    assert "eth0" in context.run("cat", "/d")
    context.dockerfile("FROM busybox\nRUN --security=insecure true\n")
    assert "security.insecure is not allowed" in context.build().stderr


def test_steps_are_confined_as_containers_are(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status > /s\n")
    context.ok("-t", "t")
    plain = context.run("grep", "-E", "CapEff|Seccomp:|NoNewPrivs", "/proc/self/status")
    assert context.run("cat", "/s") == plain


@pytest.fixture
def website(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    root = tmp_path / "www"
    root.mkdir()

    class Handler(QuietFiles):
        def do_GET(self) -> None:
            if self.path == "/index.html":
                self.send_response(301)
                self.send_header("Location", "./")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                super().do_GET()

    with serving_files(root, Handler) as url:
        yield url, root


def test_downloads(context: Context, website: tuple[str, Path]) -> None:
    url, root = website
    (root / "f.txt").write_text("from afar")
    digest = "sha256:" + __import__("hashlib").sha256(b"from afar").hexdigest()
    context.dockerfile(f"FROM busybox\nADD --checksum={digest} {url}/f.txt /d/\nADD --chmod=755 {url}/f.txt /named\n")
    context.ok("-t", "t")
    assert context.run("stat", "-c", "%n %a", "/d/f.txt", "/named").splitlines() == ["/d/f.txt 600", "/named 755"]
    assert context.run("cat", "/d/f.txt") == "from afar"
    (root / "index.html").write_text("home")  # this server sends who asks for it to the directory
    context.dockerfile(f"FROM busybox\nADD {url}/index.html /d/\n").ok("-t", "t")
    assert context.run("cat", "/d/index.html") == "home"
    context.dockerfile(f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {url}/f.txt /d/\n")
    assert "digest mismatch" in context.build().stderr
    context.dockerfile(f"FROM busybox\nADD {url}/missing /d/\n")
    assert "404" in context.build().stderr


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified", "young", "none", "tag only"])
def test_what_has_not_changed_at_an_address_is_not_downloaded_again(context: Context, validator: str) -> None:
    content, sent = [b"first"], []
    old, recent = "Mon, 02 Jan 2023 03:04:05 GMT", email.utils.formatdate(usegmt=True)

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        headers = {}
        tag = f'"{content[0].decode()}"'
        if validator in ("ETag", "tag only"):
            headers["ETag"] = tag
            if validator == "ETag" and request.headers.get("If-None-Match") == tag:
                return 304, headers, b""
        if validator in ("Last-Modified", "young"):
            headers["Last-Modified"] = old if validator == "Last-Modified" else recent
            if request.headers.get("If-Modified-Since") == headers["Last-Modified"] and content[0] == b"first":
                return 304, headers, b""
        sent.append(content[0])
        return 200, headers, content[0]

    with answering(answer) as url:
        context.dockerfile(f"FROM busybox\nADD {url}/f /f\nRUN cat /f\n").ok("-t", "t")
        assert "CACHED" in context.ok("-t", "t").partition("ADD")[2]
        # What is sent by a server that does not know the condition is not read to its end.
        assert len(sent) == (1 if validator in ("ETag", "Last-Modified") else 2)
        content[0] = b"another"
        assert "CACHED" not in context.ok("-t", "t").partition("ADD")[2]
        assert context.run("cat", "/f") == "another"
        # Known, but not there for a step of another kind: brought after all.
        context.dockerfile(f"FROM busybox\nENV a=b\nRUN true\nADD {url}/f /g\n").ok("-t", "t")
        assert context.run("cat", "/g") == "another"


def test_a_checksum_that_is_known_asks_nobody(context: Context) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        asked.append(request.path)
        return 200, {}, b"said"

    digest = hashlib.sha256(b"said").hexdigest()
    with answering(answer) as url:
        context.dockerfile(f"FROM busybox\nADD --checksum=sha256:{digest} {url}/f /f\n")
        context.ok("-t", "t")
        context.ok("-t", "t")
        assert asked == ["/f"]
        context.engine.ok("builder", "prune", "-af")
        context.ok("-t", "t")
        assert asked == ["/f", "/f"]


def test_an_address_is_asked_once_for_all_platforms(context: Context) -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        asked.append(request.path)
        return 200, {}, b"said"

    with answering(answer) as url:
        context.dockerfile(f"FROM scratch\nADD {url}/f /f\n")
        context.ok("-t", "t", "--platform", "linux/amd64,linux/arm64")
        assert asked == ["/f"]


def test_what_needs_no_step_before_it_is_done_meanwhile(context: Context) -> None:
    """The first step waits until what the later ones download is asked for, all of it at once."""
    asked = threading.Semaphore(0)
    answers = []

    def answer(request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        if request.path == "/wait":
            answers.append([asked.acquire(timeout=60) for _ in range(3)])
        else:
            asked.release()
        return 200, {}, b"abc"

    with answering(answer) as url:
        context.write("tree/f", "linked").dockerfile(
            f"FROM busybox\nRUN --network=host wget -qO /waited {url}/wait\nENV D=/d\n"
            f"ADD {url}/one {url}/two $D/\nCOPY --link tree $D/\nADD --link {url}/three /d/\n"
        )
        done = context.build("-t", "t", "--progress=rawjson", "--allow=network.host")
    succeeded(done)
    assert answers == [[True] * 3]
    assert context.run("ls", "/d").split() == ["f", "one", "three", "two"]
    # What stands alone is seen to begin before the step that it does not need has ended.
    rows = [json.loads(line) for line in done.stderr.splitlines()]
    said = [vertex for row in rows for vertex in row.get("vertexes") or ()]
    order = [(one["name"].split()[1], "completed" in one) for one in said if "started" in one]
    assert order.index(("COPY", False)) < order.index(("RUN", True))


def test_a_linked_layer_is_made_once_for_any_base(context: Context) -> None:
    text = "FROM busybox\nARG BASE\nRUN echo $BASE > /base\nCOPY --link --chmod=700 f /d/f\nRUN ls /d > /list\n"
    context.write("f", "x").dockerfile(text)
    context.ok("-t", "t", "--build-arg", "BASE=1")
    first = _layers(context.engine)
    progress = context.ok("-t", "t", "--build-arg", "BASE=2")
    second = _layers(context.engine)
    assert [one == two for one, two in zip(first, second, strict=True)][:3] == [True, False, True]
    assert "CACHED" in progress.partition("COPY")[2]
    assert context.run("cat", "/base", "/list").split() == ["2", "f"]


def _layers(engine: Engine) -> list[str]:
    found: list[str] = json.loads(engine.ok("image", "inspect", "t"))[0]["RootFS"]["Layers"]
    return found


def test_a_context_from_elsewhere(context: Context, website: tuple[str, Path]) -> None:
    url, root = website
    context.dockerfile("FROM busybox\nCOPY . /all\n").write("keep", "1").write("drop", "2")
    context.write(".dockerignore", "drop\n")
    with tarfile.open(root / "context.tar.xz", "w:xz") as archive:
        archive.add(context.path, ".")
    context.engine.ok("build", "-t", "t", f"{url}/context.tar.xz")
    assert context.run("ls", "/all").split() == ["Dockerfile", "keep"]
    (root / "Dockerfile").write_text("FROM busybox\nRUN echo alone > /alone\n")
    context.engine.ok("build", "-t", "t", f"{url}/Dockerfile")
    assert context.run("cat", "/alone") == "alone"
    (root / "other").write_text("FROM busybox\nRUN echo other > /alone\nCOPY * /all/\n")
    context.engine.ok("build", "-t", "t", "-f", "other", f"{url}/other")  # -f says nothing of what is alone
    assert context.run("cat", "/alone") == "other"
    assert context.run("ls", "/all") == "Dockerfile"


def test_git(context: Context, website: tuple[str, Path], tmp_path: Path) -> None:
    git = need("git")
    url, root = website
    work = tmp_path / "work"
    work.mkdir()
    (work / "sub").mkdir()
    (work / "sub" / "Dockerfile").write_text("FROM busybox\nCOPY f /f\n")
    (work / "sub" / "f").write_text("in git")
    (work / "Dockerfile").write_text("FROM busybox\nRUN echo root > /f\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["branch", "other"]):
        succeeded(context.engine.run_command([git, *identity, *words], cwd=work))
    bare = ["clone", "-q", "--bare", str(work), str(root / "r.git")]
    succeeded(context.engine.run_command([git, *bare]))
    succeeded(context.engine.run_command([git, "update-server-info"], cwd=root / "r.git"))
    context.engine.ok("build", "-t", "t", f"{url}/r.git#other:sub")
    assert context.run("cat", "/f") == "in git"
    context.engine.ok("build", "-t", "t", f"{url}/r.git")
    assert context.run("cat", "/f") == "root"
    context.dockerfile(f"FROM busybox\nADD --keep-git-dir {url}/r.git /src\nRUN ls -A /src > /list\n")
    context.ok("-t", "t")
    assert context.run("cat", "/list").split() == [".git", "Dockerfile", "sub"]


def test_outputs(context: Context, tmp_path: Path) -> None:
    context.dockerfile("FROM scratch\nCOPY f /dir/f\n").write("f", "out", 0o640)
    context.ok("-o", str(tmp_path / "local"))
    assert (tmp_path / "local/dir/f").read_text() == "out"
    assert (tmp_path / "local/dir/f").stat().st_mode & 0o777 == 0o640
    context.ok("-o", f"type=tar,dest={tmp_path / 'out.tar'}")
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert "dir/f" in archive.getnames()
    context.ok("-t", "t", "-o", f"type=oci,dest={tmp_path / 'oci.tar'}", "--iidfile", str(tmp_path / "iid"))
    with tarfile.open(tmp_path / "oci.tar") as archive:
        assert {"index.json", "oci-layout"} <= set(archive.getnames())
    assert (tmp_path / "iid").read_text() == context.engine.field("t", "{{.Id}}")


def test_push_and_cache_from(context: Context, registry: Registry) -> None:
    host = registry.address
    context.dockerfile("FROM busybox\nRUN head -c 16 /dev/urandom | md5sum > /r\n")
    name = f"{host}/built:1"
    context.ok("-t", name, "--push", "--cache-to", "type=inline")
    made = context.run("cat", "/r", image=name)
    context.engine.ok("rmi", name)
    context.engine.ok("builder", "prune", "-af")
    context.ok("-t", "t", "--cache-from", name)
    assert context.run("cat", "/r") == made
    # What was only looked at has no name here, as with BuildKit.
    assert host not in context.engine.ok("images", "--digests")


def test_an_image_without_layers_travels(context: Context, registry: Registry, tmp_path: Path) -> None:
    name = f"{registry.address}/empty:1"
    context.dockerfile("FROM scratch\nENV a=b\n").ok("-t", name)
    identifier = context.engine.field(name, "{{.Id}}")
    context.engine.ok("push", name)
    context.engine.ok("save", "-o", str(tmp_path / "empty.tar"), name)
    for bring in (("pull", name), ("load", "-i", str(tmp_path / "empty.tar"))):
        context.engine.ok("rmi", name)
        context.engine.cli("rmi", identifier)  # a build's own stays without its name
        context.engine.ok("builder", "prune", "-af")
        context.engine.ok(*bring)
        assert context.engine.field(name, "{{.Id}}") == identifier
    context.engine.ok("rmi", name)


def test_a_cache_in_a_directory(context: Context, tmp_path: Path) -> None:
    context.dockerfile("FROM busybox\nRUN head -c 16 /dev/urandom | md5sum > /r\nENV A=1\n")
    cache = f"type=local,dest={tmp_path / 'cache'}"
    context.ok("-t", "t", "--cache-to", cache)
    made = context.run("cat", "/r")
    assert (tmp_path / "cache" / "index.json").exists()
    context.engine.ok("rmi", "t")
    context.engine.ok("builder", "prune", "-af")
    out = context.ok("-t", "t", "--cache-from", f"type=local,src={tmp_path / 'cache'}")
    assert "CACHED" in out
    assert context.run("cat", "/r") == made
    # What was loaded to be looked at is not an image of the user's.
    assert len(context.engine.ok("images", "-q").splitlines()) == 2
    context.ok("-t", "t", "--no-cache", "--cache-from", "type=local,src=/nowhere")
    done = context.build("--cache-to", "type=gha")
    assert "--cache-to of type gha is not supported by Rundlet" in done.stderr


@pytest.mark.parametrize("kind", ["registry", "local"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_cache_of_all_stages(context: Context, registry: Registry, tmp_path: Path, kind: str, mode: str) -> None:
    text = "FROM busybox AS made\nRUN head -c 16 /dev/urandom | md5sum > /r\nFROM busybox\nCOPY --from=made /r /r\n"
    context.dockerfile(text)
    place = f"{registry.address}/cache/{mode}:1"
    there, back = f"ref={place}", f"ref={place}"
    if kind == "local":
        there, back = f"dest={tmp_path / 'cache'}", f"src={tmp_path / 'cache'}"
    context.ok("-t", "t", "--cache-to", f"type={kind},{there},mode={mode}")
    before = context.run("cat", "/r")
    assert "cache/" not in context.engine.ok("images")
    context.engine.ok("rmi", "t")
    context.engine.ok("image", "prune", "-f")
    context.engine.ok("builder", "prune", "-af")
    context.dockerfile(f"{text}RUN true\n")
    context.ok("-t", "t", "--cache-from", f"type={kind},{back}")
    assert (context.run("cat", "/r") == before) == (mode == "max")
    assert "cache/" not in context.engine.ok("images")


def test_prune_takes_what_no_name_needs(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN exit 1\n")
    assert context.build().returncode == 1
    context.dockerfile("FROM busybox\nRUN echo named > /n\nRUN true\n").ok("-t", "t")
    assert "Total" in context.engine.ok("builder", "du")
    out = context.engine.ok("builder", "prune", "-f")
    assert "Total" in out
    images = context.engine.ok("image", "ls", "-a", "--format", "{{.ID}}").splitlines()
    # busybox, t and the one step between them are left.
    assert len(images) == 3
    assert "CACHED" in context.ok("-t", "t")
