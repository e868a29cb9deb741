"""Builds through every command line: instructions, stages, the cache, what images and history look like."""

import itertools
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.engines import Engine, succeeded


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Iterator[Context]:
    yield Context(engine, tmp_path / "context")
    engine.cli("rmi", "-f", "t")
    engine.ok("image", "prune", "-f")
    engine.ok("builder", "prune", "-af")


SIMPLE = """FROM busybox
ENV A=1 B="two words"
RUN echo "$A $B" > /said
COPY a.txt /data/
CMD ["cat", "/said"]
"""


def test_the_official_command_line_builds(context: Context, docker_cli: str) -> None:
    context.dockerfile(SIMPLE).write("a.txt", "a\n")
    out = succeeded(context.classic(docker_cli, "-t", "t", "-t", "t:second"))
    assert "Step 1/5 : FROM busybox" in out
    assert "Step 3/5 : RUN echo" in out
    assert " ---> Running in " in out
    assert " ---> Removed intermediate container " in out
    assert "Successfully built " in out
    assert "Successfully tagged t:latest" in out
    assert "Successfully tagged t:second" in out
    assert context.run() == "1 two words"
    again = succeeded(context.classic(docker_cli, "-t", "t"))
    assert again.count(" ---> Using cache") == 4
    assert context.engine.ok("ps", "-aq") == ""
    context.engine.ok("rmi", "t:second")


def test_docker_py_builds(context: Context) -> None:
    docker = pytest.importorskip("docker")
    context.dockerfile(SIMPLE).write("a.txt", "a\n")
    api = docker.DockerClient(base_url=context.engine.host, version="auto")
    try:
        image, log = api.images.build(path=str(context.path), tag="t", rm=True)
        lines = list(log)
        assert any(line.get("stream", "").startswith("Step 1/5") for line in lines)
        assert {"aux": {"ID": image.id}} in lines
        context.dockerfile("FROM busybox\nRUN exit 7\n")
        # Its higher-level call leaves a connection open behind an error.
        lines = list(api.api.build(path=str(context.path), rm=True, forcerm=True, decode=True))
        assert lines[-1]["errorDetail"] == {"code": 7, "message": lines[-1]["error"]}
        assert "returned a non-zero code: 7" in lines[-1]["error"]
    finally:
        api.close()


def test_a_steps_container_is_gone_when_the_build_has_ended(context: Context) -> None:
    """Removing one with many files takes longer than asking which containers there are."""
    docker = pytest.importorskip("docker")
    api = docker.DockerClient(base_url=context.engine.host, version="auto")
    try:
        api.version()
        for number in range(5):
            script = f"mkdir /d{number}; cd /d{number}; touch $(seq 3000); exit {number % 2}"
            context.dockerfile(f"FROM busybox\nRUN {script}\n")
            list(api.api.build(path=str(context.path), rm=True, forcerm=True, decode=True))
            assert api.api.containers(all=True, filters={"ancestor": "busybox"}) == []
    finally:
        api.close()


def test_the_classic_builder_tells_of_every_stage(context: Context) -> None:
    """Old clients take an image's ID from there; the last is the result, and a child of the stage that it came from."""
    docker = pytest.importorskip("docker")
    first = "FROM scratch AS below\nENV A=1\nONBUILD ENV B=2\n"
    context.dockerfile(f"{first}FROM below\n")
    api = docker.DockerClient(base_url=context.engine.host, version="auto")
    try:
        lines = list(api.api.build(path=str(context.path), tag="t", rm=True, decode=True))
    finally:
        api.close()
    below, result = [line["aux"]["ID"] for line in lines if "aux" in line]
    assert context.engine.field("t", "{{.Id}} {{.Parent}}") == f"{result} {below}"


def test_every_step_is_an_image_with_its_parent(context: Context) -> None:
    context.dockerfile(SIMPLE).write("a.txt", "a\n")
    context.ok("-t", "t")
    engine = context.engine
    rows = engine.ok("history", "--no-trunc", "--format", "{{.ID}} {{.CreatedBy}}", "t").splitlines()
    steps = [row.split(" ", 1) for row in rows]
    assert [text for _, text in steps[:4]] == [
        'CMD ["cat" "/said"]',
        "COPY a.txt /data/ # buildkit",
        'RUN /bin/sh -c echo "$A $B" > /said # buildkit',
        "ENV A=1 B=two words",
    ]
    all_ids = engine.ok("image", "ls", "-aq", "--no-trunc").splitlines()
    listed = engine.ok("image", "ls", "-q", "--no-trunc").splitlines()
    for above, below in itertools.pairwise(steps):
        assert engine.field(above[0], "{{.Parent}}") == below[0]
        assert below[0] in all_ids
    assert steps[1][0] not in listed
    # One in the middle runs by its ID.
    assert engine.ok("run", "--rm", steps[2][0], "cat", "/said") == "1 two words"
    engine.ok("rmi", "t")
    assert steps[2][0] not in engine.ok("image", "ls", "-aq", "--no-trunc")


def test_the_cache_looks_at_contents_and_modes_not_at_times(context: Context) -> None:
    context.dockerfile("FROM busybox\nCOPY dir /d\nRUN cat /d/f > /g\n").write("dir/f", "one")
    context.ok("-t", "t")
    first = context.engine.field("t", "{{.Id}}")
    os.utime(context.path / "dir/f", (1, 1))
    os.utime(context.path / "dir", (1, 1))
    assert "CACHED" in context.ok("-t", "t")
    assert context.engine.field("t", "{{.Id}}") == first
    os.chmod(context.path / "dir/f", 0o755)
    context.ok("-t", "t")
    second = context.engine.field("t", "{{.Id}}")
    assert second != first
    context.write("dir/f", "two", 0o755)
    context.ok("-t", "t")
    assert context.run("cat", "/g") == "two"
    context.write("dir/f", "one")
    context.ok("-t", "t")
    assert context.engine.field("t", "{{.Id}}") == first


def test_the_cache_is_shared_between_files_that_overlap(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN head -c 16 /dev/urandom | md5sum > /r\nENV A=1\n")
    context.ok("-t", "t")
    before = context.run("cat", "/r")
    context.dockerfile("FROM busybox AS x\nRUN head -c 16 /dev/urandom | md5sum > /r\nLABEL b=2\n")
    context.ok("-t", "t")
    assert context.run("cat", "/r") == before
    context.ok("-t", "t", "--no-cache")
    assert context.run("cat", "/r") != before


def test_what_is_to_be_looked_at_alone(context: Context, docker_cli: str, tmp_path: Path) -> None:
    """The classic builder's --cache-from: nothing else is a cache, and an image that is one keeps its ID."""
    context.dockerfile("FROM busybox\nENV a=b\nADD f /\nRUN touch /made\n").write("f", "f")
    succeeded(context.classic(docker_cli, "-t", "t"))
    first = context.engine.field("t", "{{.Id}}")
    context.engine.ok("save", "-o", str(tmp_path / "t.tar"), "t")
    other = succeeded(context.classic(docker_cli, "-t", "t", "--cache-from", "none:such"))
    assert "Using cache" not in other
    assert context.engine.field("t", "{{.Id}}") != first
    context.engine.ok("rmi", "t")
    context.engine.ok("rmi", first)
    context.engine.ok("builder", "prune", "-af")
    context.engine.ok("load", "-i", str(tmp_path / "t.tar"))
    again = succeeded(context.classic(docker_cli, "-t", "t:again", "--cache-from", "t"))
    assert again.count(" ---> Using cache") == 3
    assert context.engine.field("t:again", "{{.Id}}") == first
    context.engine.ok("rmi", "t:again")


def test_a_step_that_says_nothing_does_what_its_image_does(context: Context) -> None:
    context.dockerfile('FROM busybox\nCMD ["sh", "-c", "echo done > /done"]\nRUN []\n').ok("-t", "t")
    assert context.run("cat", "/done") == "done"
    context.dockerfile("FROM busybox\nCMD []\nRUN []\n")
    assert "No command specified" in context.build().stderr


def test_programs_of_another_platform(context: Context) -> None:
    """The failure says what is missing: nothing here runs them."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00\x01\x00\x00\x00" + bytes(40)
    context.write("sh", header, 0o755).dockerfile("FROM scratch\nCOPY sh /bin/sh\nRUN true\n")
    said = context.build("--platform", "linux/arm64").stderr
    if any(Path("/proc/sys/fs/binfmt_misc").glob("*aarch64*")):
        assert "exit code" in said  # an emulator takes it, and finds nothing in it
        return
    assert "exec /bin/sh: exec format error" in said
    assert "the image is for linux/arm64 and this machine is linux/amd64: programs of it need an emulator" in said
    assert "binfmt_misc" in said


def test_no_cache_for_one_stage(context: Context) -> None:
    stage = "RUN head -c 16 /dev/urandom | md5sum > /r\n"
    context.dockerfile(f"FROM busybox AS a\n{stage}FROM busybox AS b\nWORKDIR /x\n{stage}COPY --from=a /r /ra\n")
    context.ok("-t", "t")
    before = context.run("cat", "/ra", "/r").split("\n")
    context.ok("-t", "t", "--no-cache-filter", "b")
    after = context.run("cat", "/ra", "/r").split("\n")
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_stages(context: Context) -> None:
    context.dockerfile(
        "ARG BASE=busybox\n"
        "FROM $BASE AS one\nARG NAME=default\nRUN echo $NAME > /one\n"
        "FROM busybox AS unused\nRUN exit 1\n"
        "FROM one AS two\nARG NAME\nRUN echo $NAME-2 > /two\n"
        "FROM busybox\nCOPY --from=two /one /two /got/\nCOPY --from=0 /one /zero\nCMD cat /got/one /got/two /zero\n"
    )
    context.ok("-t", "t", "--build-arg", "NAME=given")
    assert context.run().split() == ["given", "given-2", "given"]
    context.ok("-t", "t", "--target", "two")
    # A stage has the arguments of the one it is from; naming one again takes nothing away.
    assert context.run("cat", "/two") == "default-2"
    done = context.build("--target", "nowhere")
    assert done.returncode == 1
    assert 'target stage "nowhere" could not be found' in done.stderr


def test_independent_stages_run_side_by_side(context: Context) -> None:
    # Each waits for the other to have begun: one after the other they would never end.
    wait = (
        "RUN --mount=type=cache,target=/c,id=side touch /c/{0}; i=0; while [ ! -e /c/{1} ]; do sleep 0.1; i=$((i+1)); "
        "[ $i -lt 300 ] || exit 1; done\n"
    )
    context.dockerfile(
        f"FROM busybox AS a\n{wait.format('a', 'b')}FROM busybox AS b\n{wait.format('b', 'a')}"
        "FROM busybox\nCOPY --from=a /bin/true /1\nCOPY --from=b /bin/true /2\n"
    )
    context.ok("-t", "t")


COPIES = """FROM busybox
WORKDIR /w
COPY one.txt renamed
COPY one.txt into/
COPY one.txt two.txt many/
COPY dir tree
COPY dir/*.log logs/
COPY --chmod=640 --chown=1234:5678 one.txt owned
COPY --exclude=sub --exclude=*.log dir less
COPY --parents dir/sub/deep.txt with/
COPY link followed
COPY <<A <<"B" here/
a $HOME
A
b $HOME
B
ADD one.txt added
ADD archive.tar.gz unpacked/
"""


def test_copy_and_add(context: Context, tmp_path: Path) -> None:
    context.dockerfile(COPIES)
    context.write("one.txt", "1").write("two.txt", "2", 0o755)
    context.write("dir/a.log", "a").write("dir/sub/deep.txt", "d").write("dir/plain", "p", 0o4755)
    (context.path / "link").symlink_to("dir/plain")
    (context.path / "dir/inner").symlink_to("/etc/passwd")
    inside = tmp_path / "archive"
    inside.mkdir()
    (inside / "f").write_text("packed")
    context.engine.run_command(["tar", "czf", str(context.path / "archive.tar.gz"), "-C", str(inside), "."])
    context.ok("-t", "t")
    listing = context.run("sh", "-c", "cd /w; find . | sort; stat -c '%n %a %u:%g' owned many/two.txt")
    lines = listing.splitlines()
    assert lines[: lines.index("./with/dir/sub/deep.txt") + 1] == [
        ".",
        "./added",
        "./followed",
        "./here",
        "./here/A",
        "./here/B",
        "./into",
        "./into/one.txt",
        "./less",
        "./less/inner",
        "./less/plain",
        "./logs",
        "./logs/a.log",
        "./many",
        "./many/one.txt",
        "./many/two.txt",
        "./owned",
        "./renamed",
        "./tree",
        "./tree/a.log",
        "./tree/inner",
        "./tree/plain",
        "./tree/sub",
        "./tree/sub/deep.txt",
        "./unpacked",
        "./unpacked/f",
        "./with",
        "./with/dir",
        "./with/dir/sub",
        "./with/dir/sub/deep.txt",
    ]
    assert "owned 640 1234:5678" in lines
    assert "many/two.txt 755 0:0" in lines
    assert context.run("cat", "/w/here/A") == "a"
    assert context.run("cat", "/w/here/B") == "b $HOME"
    assert context.run("readlink", "/w/tree/inner") == "/etc/passwd"


def test_owners_of_a_stage_stay(context: Context) -> None:
    context.dockerfile(
        "FROM busybox AS a\nRUN touch /f && chown 12:34 /f && chmod 600 /f\nFROM busybox\nCOPY --from=a /f /f\n"
    )
    context.ok("-t", "t")
    assert context.run("stat", "-c", "%u:%g %a", "/f") == "12:34 600"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM busybox\nCOPY nothing /x\n", '"/nothing": not found'),
        ("FROM busybox\nCOPY ../../../etc/passwd /x\n", '"/etc/passwd": not found'),
        ("FROM busybox\nCOPY dir /bin/busybox\n", "cannot copy to non-directory"),
        ("FROM busybox\nFOO bar\n", "unknown instruction: FOO"),
        (
            "FROM busybox AS a\nCOPY --from=later /x /\nFROM busybox AS later\nCOPY --from=a /x /\n",
            "circular dependency detected",
        ),
        ("RUN true\n", "no build stage in current context"),
        ("", "cannot be empty"),
        ("\n \n\n", "file with no instructions"),
        ("# nothing\n", "file with no instructions"),
    ],
)
def test_what_fails_says_why(context: Context, text: str, message: str) -> None:
    context.dockerfile(text).write("a.txt", "a").write("dir/f", "f")
    done = context.build("-t", "t")
    assert done.returncode == 1
    assert message in done.stderr


def test_a_failing_step_keeps_its_code_and_last_words(context: Context, docker_cli: str) -> None:
    context.dockerfile("FROM busybox\nRUN touch /made\nRUN echo 'last words' >&2; exit 3\n")
    done = context.classic(docker_cli, "--rm", "--force-rm", "-t", "t")
    assert done.returncode == 3
    assert "last words" in done.stdout + done.stderr
    assert "The command '/bin/sh -c echo 'last words' >&2; exit 3' returned a non-zero code: 3" in done.stderr
    # The step before is an image, to look at what went wrong.
    image = done.stdout.split(" ---> ")[-2].split()[0] if "Running in" in done.stdout else ""
    kept = context.engine.ok("image", "ls", "-aq").splitlines()
    assert image[:12] in kept or kept
    assert context.engine.ok("ps", "-aq") == ""


def test_a_failing_step_in_the_words_of_each_builder(context: Context, docker_cli: str) -> None:
    context.dockerfile('FROM busybox\nRUN echo "a b"; exit 3\n')
    assert context.build().stderr.splitlines()[-1] == (
        'ERROR: failed to build: failed to solve: process "/bin/sh -c echo \\"a b\\"; exit 3" did not complete '
        "successfully: exit code: 3"
    )
    context.dockerfile("FROM busybox\nCOPY none /\n")
    assert 'failed to calculate checksum: "/none": not found' in context.build().stderr
    classic = context.classic(docker_cli).stderr
    assert "COPY failed: file not found in build context or excluded by .dockerignore: stat none: file" in classic
    context.dockerfile("FROM busybox\nCOPY a1 a2 /to\n").write("a1", "1").write("a2", "2")
    message = "When using COPY with more than one source file, the destination must be a directory and end with a /"
    assert message in context.classic(docker_cli).stderr.splitlines()
    context.dockerfile("FROM busybox\nCOPY --chown=nobody-knows a1 /\n")
    assert "unable to find user nobody-knows" in context.classic(docker_cli).stderr
    assert "No image was generated" in context.dockerfile("FROM scratch\n").classic(docker_cli).stderr


def test_a_quiet_build_that_fails_says_all(context: Context, docker_cli: str) -> None:
    context.dockerfile("FROM busybox\nRUN echo out; exit 3\n")
    done = context.classic(docker_cli, "-q")
    assert (done.returncode, done.stdout) == (3, "")
    assert "Step 2/2 : RUN echo out; exit 3" in done.stderr
    assert "out\n" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("returned a non-zero code: 3")


@pytest.mark.parametrize(
    ("text", "classic", "buildkit"),
    [
        ("WORKDIR /bin/sh", "Cannot mkdir: /bin/sh is not a directory", "mkdir: /bin/sh is not a directory"),
        ("COPY --from=9 / /", "invalid from flag value 9: index out of bounds", "invalid stage index 9"),
        ("ADD http://127.0.0.1:1/x /y", "ADD failed: Get ", "failed to solve: Get "),
    ],
)
def test_other_words(context: Context, docker_cli: str, text: str, classic: str, buildkit: str) -> None:
    context.dockerfile(f"FROM busybox\n{text}\n")
    assert classic in context.classic(docker_cli).stderr
    assert buildkit in context.build().stderr


def test_where_the_builders_differ(context: Context, docker_cli: str) -> None:
    context.dockerfile(
        "FROM busybox AS link\nRUN ln -s /tmp /a\n"
        "FROM busybox\nUSER 7:8\nWORKDIR /mine/too\nCOPY --from=link /a /there\nCOPY none* /\n"
    )
    context.write("some", "")
    context.ok("-t", "t")  # patterns that nothing fits are no error
    assert context.run("stat", "-c", "%u %g", "/mine", "/mine/too").splitlines() == ["7 8", "7 8"]
    assert "no source files were specified" in context.classic(docker_cli, "-t", "t").stderr
    context.dockerfile("FROM busybox\nUSER 7:8\nWORKDIR /mine\n")
    succeeded(context.classic(docker_cli, "-t", "t"))
    assert context.run("stat", "-c", "%u %g", "/mine") == "0 0"
    context.write("one/a", "file").write("two/a/b", "in a directory")
    context.dockerfile("FROM busybox\nCOPY one /d\nCOPY two /d\n")
    assert "cannot overwrite non-directory" in context.build("-t", "t").stderr
    succeeded(context.classic(docker_cli, "-t", "t"))
    assert context.run("cat", "/d/a/b") == "in a directory"
    context.dockerfile("FROM scratch\nCOPY one /d\n").ok("-t", "t")
    assert json.loads(context.engine.ok("inspect", "t"))[0]["Config"]["WorkingDir"] == "/"


def test_what_a_pattern_finds_may_share_one_name(context: Context, docker_cli: str) -> None:
    context.write("a*b/f", "the star").write("axb/f", "the letter")
    context.dockerfile("FROM busybox\nCOPY a*b/f /last\nCOPY a[*]b/f /one\nCOPY a\\*b/f /same\n").ok("-t", "t")
    assert context.run("cat", "/last", "/one", "/same") == "the letterthe starthe letter"
    assert "When using COPY with more than one source file" in context.classic(docker_cli).stderr


def test_patterns_of_any_depth(context: Context, docker_cli: str) -> None:
    context.write("top.txt", "").write("a/one.txt", "").write("a/b/two.txt", "").write("a/b/c/three.txt", "")
    context.dockerfile("FROM busybox\nCOPY **/*.txt /all/\nCOPY --parents a/**/b/**/*.txt /some/\nCOPY **/b/c/. /c/\n")
    context.ok("-t", "t")
    assert context.run("ls", "/all").split() == ["one.txt", "three.txt", "top.txt", "two.txt"]
    found = context.run("find", "/some", "/c", "-type", "f").split()
    assert sorted(found) == ["/c/three.txt", "/some/a/b/c/three.txt", "/some/a/b/two.txt"]
    context.dockerfile("FROM busybox\nCOPY **/*.txt /all/\n")
    succeeded(context.classic(docker_cli, "-t", "t"))
    assert context.run("ls", "/all") == "one.txt"


def test_symbolic_modes(context: Context) -> None:
    context.write("d/plain", "", 0o600).write("d/program", "", 0o700)
    os.chmod(context.path / "d", 0o700)
    context.dockerfile("FROM busybox\nCOPY --chmod=u=rwX,go=rX d /d\nCOPY --chmod=g+w,o= d/plain /p\n").ok("-t", "t")
    modes = context.run("stat", "-c", "%a", "/d", "/d/plain", "/d/program", "/p").split()
    assert modes == ["755", "644", "755", "620"]


def test_owners_in_an_archive_are_its_own_with_the_classic_builder(context: Context, docker_cli: str) -> None:
    with tarfile.open(context.path / "a.tar", "w") as archive:
        file = tarfile.TarInfo("f")
        file.uid, file.gid = 12, 34
        archive.addfile(file)
    context.write("plain", "").dockerfile("FROM busybox\nADD --chown=5:6 a.tar plain /sub/\n")
    succeeded(context.classic(docker_cli, "-t", "t"))
    owners = context.run("stat", "-c", "%u:%g", "/sub", "/sub/f", "/sub/plain").split()
    assert owners == ["5:6", "12:34", "5:6"]


def test_links_of_an_archive_stay_below_its_destination(context: Context) -> None:
    with tarfile.open(context.path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("up")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        archive.addfile(link)
        file = tarfile.TarInfo("up/etc/f")
        archive.addfile(file)
    context.dockerfile("FROM busybox\nADD a.tar /sub\n").ok("-t", "t")
    assert context.run("ls", "/sub/etc") == "f"
    assert context.engine.cli("run", "--rm", "t", "ls", "/etc/f").returncode != 0


def test_metadata(context: Context) -> None:
    context.dockerfile(
        "FROM busybox\nLABEL one=1 two='a b'\nEXPOSE 80 90/udp 100-101\nUSER 12:34\nVOLUME /v /w\nWORKDIR /a\n"
        'WORKDIR b\nSTOPSIGNAL SIGINT\nSHELL ["/bin/sh", "-ec"]\n'
        'HEALTHCHECK --interval=5s --retries=2 CMD true\nENTRYPOINT ["echo"]\nCMD hello\n'
    )
    context.ok("-t", "t", "--label", 'quote=a "b" $c')
    config = json.loads(context.engine.ok("inspect", "t"))[0]["Config"]
    assert config["Labels"] == {"one": "1", "two": "a b", "quote": 'a "b" $c'}
    assert set(config["ExposedPorts"]) == {"80/tcp", "90/udp", "100/tcp", "101/tcp"}
    assert config["User"] == "12:34"
    assert set(config["Volumes"]) == {"/v", "/w"}
    assert config["WorkingDir"] == "/a/b"
    assert config["StopSignal"] == "SIGINT"
    assert config["Shell"] == ["/bin/sh", "-ec"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Retries": 2}
    assert config["Entrypoint"] == ["echo"]
    assert config["Cmd"] == ["/bin/sh", "-ec", "hello"]
    context.dockerfile("FROM busybox\nCMD []\n").ok("-t", "t")
    assert json.loads(context.engine.ok("inspect", "t"))[0]["Config"]["Cmd"] is None


def test_onbuild(context: Context) -> None:
    context.dockerfile("FROM busybox\nONBUILD COPY a.txt /from-child\nONBUILD RUN cat /from-child > /triggered\n")
    context.write("a.txt", "parent").ok("-t", "t")
    context.dockerfile("FROM t\nRUN echo own\n").write("a.txt", "child").ok("-t", "t:child")
    assert context.run("cat", "/triggered", image="t:child") == "child"
    assert json.loads(context.engine.ok("inspect", "t:child"))[0]["Config"].get("OnBuild") in (None, [])
    context.engine.ok("rmi", "t:child")


def test_triggers_are_shown(context: Context, docker_cli: str) -> None:
    context.dockerfile("FROM busybox\nONBUILD RUN echo of the parent\n").ok("-t", "t")
    context.dockerfile("FROM t\nENV own=1\n")
    out = succeeded(context.classic(docker_cli, "-t", "t:child"))
    assert "# Executing 1 build trigger\n" in out
    assert "of the parent\n" in out.partition("Step 2/2")[0]
    context.engine.ok("rmi", "t:child")
    context.dockerfile("FROM busybox AS a\nONBUILD RUN echo once >> /x\nFROM a AS b\nFROM b\n").ok("-t", "t")
    assert context.run("cat", "/x") == "once"  # stages have triggers too, which those on top of them don't inherit


def test_the_dockerfile_in_small_letters(context: Context, docker_cli: str) -> None:
    context.write("dockerfile", "FROM busybox\nCMD small\n")
    succeeded(context.engine.run_command(["tar", "cf", "../context.tar", "."], cwd=context.path))
    archive = (context.path.parent / "context.tar").read_bytes()
    command = [docker_cli, "build", "-t", "t", "-"]
    succeeded(context.engine.run_command(command, env={"DOCKER_BUILDKIT": "0"}, stdin=archive))
    assert json.loads(context.engine.ok("inspect", "t"))[0]["Config"]["Cmd"] == ["/bin/sh", "-c", "small"]


def test_an_image_to_copy_from_that_is_nowhere(context: Context, docker_cli: str) -> None:
    context.dockerfile("FROM busybox\nCOPY --from=127.0.0.1:1/none /a /\n")
    assert "invalid from flag value 127.0.0.1:1/none: " in context.classic(docker_cli).stderr
    assert "invalid from flag" not in context.build().stderr


def test_a_build_is_an_event(context: Context) -> None:
    context.dockerfile("FROM busybox\nLABEL a=b\n")
    since = time.time()
    context.ok("-t", "t")
    flags = ("--since", f"{since:.6f}", "--until", f"{time.time():.6f}", "--filter", "type=image")
    events = [json.loads(line) for line in context.engine.ok("events", *flags, "--format", "{{json .}}").splitlines()]
    identifier = context.engine.field("t", "{{.Id}}")
    assert [(event["Action"], event["Actor"]["ID"]) for event in events] == [
        ("create", identifier),
        ("tag", identifier),
    ]
    assert [event["Actor"]["Attributes"]["name"] for event in events] == [identifier, "t:latest"]


def test_a_step_that_changes_nothing_makes_no_layer(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN true\nWORKDIR /\n")
    context.ok("-t", "t")
    assert context.engine.field("t", "{{len .RootFS.Layers}}") == context.engine.field(
        "busybox", "{{len .RootFS.Layers}}"
    )


def test_arguments_of_a_build(context: Context) -> None:
    context.dockerfile(
        "FROM busybox\nARG A=1 B\nENV C=${A:-x}${B:+y}\nRUN env | sort > /env\n"
        "ARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n"
    )
    context.ok("-t", "t", "--build-arg", "B=2", "--build-arg", "HTTP_PROXY=http://p:1")
    env = context.run("cat", "/env").splitlines()
    assert "A=1" in env
    assert "B=2" in env
    assert "C=1y" in env
    assert "HTTP_PROXY=http://p:1" in env
    assert context.run("cat", "/arch") == context.engine.ok("version", "-f", "{{.Server.Arch}}")
    history = context.engine.ok("history", "--no-trunc", "t")
    assert "|2 A=1 B=2 /bin/sh -c env | sort > /env" in history
    assert "http://p:1" not in history


def test_reproducible(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN date > /dev/null; echo x > /x; mkdir /dir\nCOPY a.txt /\nCOPY <<E /e\ne\nE\n")
    context.write("a.txt", "a")
    ids = []
    for _ in range(2):
        context.ok("-t", "t", "--no-cache", env={"SOURCE_DATE_EPOCH": "1700000000"})
        ids.append(context.engine.field("t", "{{.Id}}"))
        os.utime(context.path / "a.txt", (1800000000, 1800000000))
    assert ids[0] == ids[1]
    assert context.engine.field("t", "{{.Created}}").startswith("2023-11-14T22:13:20")
    assert context.run("stat", "-c", "%Y", "/x") == "1700000000"


def test_squash(context: Context) -> None:
    context.dockerfile(
        "FROM busybox\nRUN echo 1 > /a; mkdir /d; echo 1 > /d/x\nRUN rm -r /a /d; echo 2 > /b; mkdir /d\n"
    )
    context.ok("-t", "t", "--squash")
    base = int(context.engine.field("busybox", "{{len .RootFS.Layers}}"))
    assert context.engine.field("t", "{{len .RootFS.Layers}}") == str(base + 1)
    assert context.run("sh", "-c", "ls /a; ls /d; cat /b") == "2"


def test_a_linked_copy_does_not_depend_on_what_is_below(context: Context) -> None:
    text = "FROM busybox\nRUN echo {} > /below; mkdir /real; ln -s real /dir\nCOPY --link f /dir/f\nRUN cat /dir/f\n"
    context.dockerfile(text.format(1)).write("f", "linked")
    context.ok("-t", "t")
    # No link of the image was followed: the directory has taken its place.
    assert context.run("sh", "-c", "ls /real; cat /dir/f") == "linked"
    layer = context.engine.field("t", "{{index .RootFS.Layers 2}}")
    out = context.dockerfile(text.format(2)).ok("-t", "t")
    steps = {line.split()[0]: line for line in out.splitlines() if "COPY --link" in line}
    assert f"{next(iter(steps))} CACHED" in out
    assert context.run("cat", "/below") == "2"
    assert context.engine.field("t", "{{index .RootFS.Layers 2}}") == layer
