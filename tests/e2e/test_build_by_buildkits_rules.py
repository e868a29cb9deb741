"""Builds that come out as BuildKit's do where one could think otherwise."""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.engines import Engine, succeeded

NOTHING = "FROM scratch\n"


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Iterator[Context]:
    yield Context(engine, tmp_path / "context")
    engine.cli("rmi", "-f", "t")
    engine.ok("image", "prune", "-f")
    engine.ok("builder", "prune", "-af")


def files(context: Context, path: Path) -> dict[str, tarfile.TarInfo]:
    """What the image of a build has, by name."""
    context.ok("-o", f"type=tar,dest={path}")
    with tarfile.open(path) as archive:
        return {member.name.strip("/"): member for member in archive}


def owners(found: dict[str, tarfile.TarInfo], *names: str) -> list[tuple[int, int]]:
    return [(found[name].uid, found[name].gid) for name in names]


def modes(found: dict[str, tarfile.TarInfo], *names: str) -> list[int]:
    return [found[name].mode for name in names]


def test_an_image_of_nothing(context: Context, tmp_path: Path) -> None:
    context.dockerfile(NOTHING).ok("-t", "t")
    image = json.loads(context.engine.ok("inspect", "t"))[0]
    assert not image["RootFS"].get("Layers")
    context.ok("-t", "t")
    assert json.loads(context.engine.ok("inspect", "t"))[0]["Id"] == image["Id"]
    assert files(context, tmp_path / "files.tar") == {}
    # Nor does anything else come out on standard output.
    done = context.build("-o", "type=tar,dest=-")
    succeeded(done)
    with tarfile.open(fileobj=io.BytesIO(done.stdout.encode("latin-1"))) as archive:
        assert archive.getnames() == []


def test_a_dockerfile_in_small_letters(context: Context) -> None:
    context.write("dockerfile", "FROM busybox\nENV small=1\n").ok("-t", "t")
    assert "small=1" in context.engine.ok("inspect", "-f", "{{.Config.Env}}", "t")


def test_the_configuration_of_a_command(context: Context) -> None:
    context.dockerfile('FROM busybox AS base\nCMD ["a"]\nFROM busybox\nENTRYPOINT\nCMD\n').ok("-t", "t")
    config = json.loads(context.engine.ok("inspect", "t"))[0]["Config"]
    assert config["Cmd"] == config["Entrypoint"] == ["/bin/sh", "-c", ""]
    assert config["ArgsEscaped"] is True


def test_an_argument_keeps_its_value_when_it_is_declared_again(context: Context) -> None:
    context.dockerfile("ARG g=global\nFROM busybox\nARG a=1\nARG a\nARG g=own\nARG g\nENV found=$a-$g\n").ok("-t", "t")
    assert "found=1-global" in context.engine.ok("inspect", "-f", "{{.Config.Env}}", "t")


def test_a_trigger_takes_from_a_stage_that_nothing_else_needs(context: Context) -> None:
    context.dockerfile(
        "FROM busybox AS base\nONBUILD COPY --from=made /made /got\n"
        "FROM busybox AS below\nRUN echo below > /below\n"
        "FROM below AS made\nRUN cat /below > /made\n"
        "FROM base\nRUN cat /got > /end\n"
    ).ok("-t", "t")
    assert context.run("cat", "/end") == "below"
    context.dockerfile(
        "FROM busybox AS base\nONBUILD COPY --from=made /made /got\n"
        "FROM busybox AS made\nRUN echo failing here; exit 9\nFROM base\n"
    )
    done = context.build()
    assert done.returncode == 1
    assert "did not complete successfully: exit code: 9" in done.stderr
    context.dockerfile("FROM busybox AS base\nONBUILD COPY --from=later /a /b\nFROM base\nFROM busybox AS later\n")
    assert "circular dependency detected on stage: later" in context.build("--target", "1").stderr


def test_several_files_to_one_name(context: Context, tmp_path: Path) -> None:
    context.write("a", "first").write("b", "second").dockerfile(f"{NOTHING}COPY a b /x\nADD b a /y\n")
    found = files(context, tmp_path / "files.tar")
    assert sorted(found) == ["x", "y"]
    assert (found["x"].size, found["y"].size) == (len("second"), len("first"))


def test_owners_that_the_image_does_not_know_are_root(context: Context, tmp_path: Path) -> None:
    context.write("a", "").dockerfile(
        "FROM busybox AS base\n"
        "COPY --chown=1000:nosuchgroup a /1\nCOPY --chown=nosuch a /2\nCOPY --chown=daemon:nosuchgroup a /3\n"
        "COPY --chown=-1 a /4\nUSER nosuch\nWORKDIR /5\n"
        f"{NOTHING}COPY --from=base /1 /2 /3 /4 /\nCOPY --from=base /5 /\nCOPY --chown=root a /6\n"
    )
    found = files(context, tmp_path / "files.tar")
    assert owners(found, "1", "2", "3", "4", "6") == [(1000, 1000), (0, 0), (1, 1), (0, 0), (0, 0)]
    # A step that runs as somebody has to know who that is.
    context.dockerfile("FROM busybox\nUSER nosuch\nRUN true\n")
    why = 'process "/bin/sh -c true" did not complete successfully: unable to find user nosuch: no matching entries'
    assert why in context.build().stderr


def test_a_mode_is_for_the_directories_on_the_way_too(context: Context, tmp_path: Path) -> None:
    context.write("a", "").dockerfile(
        f"{NOTHING}COPY --chmod=750 a /p/q/a\nCOPY --chmod=go-r a /r/a\nCOPY --chmod=700 a /p/b\n"
        "COPY --link --chmod=711 a /s/\n"
    )
    found = files(context, tmp_path / "files.tar")
    assert modes(found, "p", "p/q", "p/q/a", "p/b") == [0o750, 0o750, 0o750, 0o700]
    assert modes(found, "r", "r/a", "s", "s/a") == [0o755, 0o600, 0o711, 0o711]


def test_an_archive_that_is_unpacked(context: Context, tmp_path: Path) -> None:
    member = tarfile.TarInfo("f")
    member.uid, member.gid, member.mode = 9, 8, 0o640
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(member)
    context.write("f.tar", data.getvalue()).dockerfile(
        f"{NOTHING}ADD f.tar /plain/\nADD --chown=1:2 f.tar /own/\nADD --chmod=700 f.tar /mode/\n"
    )
    found = files(context, tmp_path / "files.tar")
    assert owners(found, "plain/f", "own/f", "mode/f") == [(9, 8), (1, 2), (9, 8)]
    assert modes(found, "plain/f", "own/f", "mode/f") == [0o640] * 3


def test_what_many_directories_have_comes_as_a_walk_meets_it(context: Context, tmp_path: Path) -> None:
    context.write("s/a/x", "1").write("s/a/b/x", "22").dockerfile(f"{NOTHING}COPY s/**/x /d/\n")
    assert files(context, tmp_path / "files.tar")["d/x"].size == 1


@pytest.mark.parametrize("name", ["SIGNOSUCH", "0", "A B", "$empty"])
def test_a_signal_that_there_is_not(context: Context, name: str) -> None:
    done = context.dockerfile(f"{NOTHING}ARG empty\nSTOPSIGNAL {name}\n").build()
    assert done.returncode == 1
    assert f"failed to solve: invalid signal: {name.removeprefix('$empty')}" in done.stderr
    context.dockerfile(f"{NOTHING}STOPSIGNAL RTMIN+3\nSTOPSIGNAL sigusr1\nSTOPSIGNAL 99\n").ok()


def test_the_hosts_network_is_a_right(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN --network=host true\n")
    done = context.build()
    assert done.returncode == 1
    assert "failed to solve: network.host is not allowed" in done.stderr
    context.ok("--allow", "network.host")
    context.ok("--network", "host", "--no-cache")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM scratch\nCOPY http://localhost/x /y\n", "source can't be a URL for COPY"),
        (
            "FROM --platform=$BULIDPLATFORM scratch\n",
            "empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)",
        ),
        ("FROM --platform=linux/$A/b/c/d scratch\n", "failed to parse platform linux/$A/b/c/d: "),
        ("FROM BusyBox\n", 'failed to parse stage name "BusyBox": invalid reference format: '),
    ],
)
def test_what_is_said(context: Context, text: str, why: str) -> None:
    done = context.dockerfile(text).build()
    assert done.returncode == 1
    assert f"ERROR: failed to build: failed to solve: {why}" in done.stderr


def test_warnings_are_told_before_an_error(context: Context) -> None:
    done = context.dockerfile("FROM busybox\nENV a b\nRUN false\n").build()
    rule = 'LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 2)'
    told, _, error = done.stderr.partition("------\n > [2/2] RUN false:\n------\n")
    assert told
    assert error.index(rule) < error.index("Dockerfile:3") < error.index("ERROR: failed to build")


def test_warnings_that_are_errors(context: Context) -> None:
    context.dockerfile("# check=error=true\nFROM busybox\nENV a b\n")
    why = "lint violation found for rules: LegacyKeyValueFormat"
    done = context.build()
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"ERROR: failed to build: failed to solve: {why}")
    assert "(line 3)" in done.stderr
    checked = context.engine.cli("build", "--check", str(context.path))
    assert checked.returncode == 1
    assert "WARNING: LegacyKeyValueFormat" in checked.stdout
    assert checked.stderr == f"ERROR: {why}\n"
    broken = context.engine.cli("build", "--check", str(context.dockerfile("FROM busybox\nNOSUCH\n").path))
    assert broken.returncode == 1
    assert broken.stderr.startswith("ERROR: dockerfile parse error on line 2: unknown instruction: NOSUCH\n")


def test_arguments_that_speak_to_the_builder(context: Context) -> None:
    context.dockerfile(
        "FROM busybox\nRUN --mount=type=cache,target=/c hostname > /name; ls /c > /before; touch /c/seen\n"
    ).ok("-t", "t")
    assert context.run("cat", "/name") == "buildkitsandbox"
    name = "BUILDKIT_SANDBOX_HOSTNAME=other"
    assert "were not consumed" not in context.ok("-t", "t", "--build-arg", name)
    assert context.run("cat", "/name", "/before").split() == ["other", "seen"]
    # Another name space has caches of its own.
    context.ok("-t", "t", "--no-cache", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=ours")
    assert context.run("cat", "/before") == ""
    context.ok("-t", "t", "--no-cache", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=ours")
    assert context.run("cat", "/before") == "seen"


HISTORY = """\
FROM busybox
ARG A=1 B
ENV X="a b" Y=2
LABEL l="x y"
RUN echo hi
COPY --chmod=600 --chown=1:2 f ./
ADD --link f g /e/
COPY <<EOF /h
inline
EOF
WORKDIR w
CMD echo
ENTRYPOINT ["a", "b"]
HEALTHCHECK --interval=3s CMD true
EXPOSE 90/udp 80
VOLUME /v
STOPSIGNAL 9
SHELL ["/bin/sh", "-c"]
ONBUILD RUN x
USER 1
"""
TOLD = """\
ARG A=1 B=two
ENV X=a b Y=2
LABEL l=x y
RUN |2 A=1 B=two /bin/sh -c echo hi # buildkit
COPY --chown=1:2 --chmod=600 f ./ # buildkit
ADD f g /e/ # buildkit
COPY <<EOF /h # buildkit
WORKDIR /w
CMD ["/bin/sh" "-c" "echo"]
ENTRYPOINT ["a" "b"]
HEALTHCHECK &{["CMD-SHELL" "true"] "3s" "0s" "0s" "0s" '\\x00'}
EXPOSE [80/tcp 90/udp]
VOLUME [/v]
STOPSIGNAL 9
SHELL [/bin/sh -c]
USER 1
"""


def test_the_history_is_worded_as_buildkits(context: Context) -> None:
    context.write("f", "f").write("g", "g").dockerfile(HISTORY)
    context.ok("-t", "t", "--build-arg", "B=two", "--label", "more=1")
    rows = context.engine.ok("history", "--no-trunc", "--format", "{{json .}}", "t").splitlines()
    steps = [json.loads(row) for row in reversed(rows)][1:]
    assert [step["CreatedBy"] for step in steps] == TOLD.splitlines()
    assert {step["Comment"] for step in steps} == {"buildkit.dockerfile.v0"}
    # Triggers and labels of the command line are steps without a row; those before them have theirs.
    identifiers = [step["ID"] for step in steps]
    assert len(set(identifiers)) == len(steps)
    assert identifiers[-1] == context.engine.ok("image", "inspect", "-f", "{{.Id}}", "t")
    assert "<missing>" not in identifiers
    assert context.engine.ok("image", "inspect", "-f", "{{.Config.Labels.more}} {{.Author}}", "t") == "1"


def test_a_cache_is_told_by_contents_not_by_words(context: Context, tmp_path: Path) -> None:
    text = "FROM busybox\nCOPY f /f\nRUN --mount=type=bind,source=g,target=/g cat /g > /h\n"
    context.write("f", "one").write("g", "one").dockerfile(text)
    context.ok("-t", "t", "--cache-to", f"type=local,dest={tmp_path / 'cache'}")
    for name in ("g", "f"):
        context.engine.ok("rmi", "-f", "t")
        context.engine.ok("image", "prune", "-f")
        context.engine.ok("builder", "prune", "-af")
        context.write(name, "two")
        said = context.ok("-t", "t", "--cache-from", f"type=local,src={tmp_path / 'cache'}")
        assert said.count("CACHED") == (1 if name == "g" else 0), said
        assert context.run("cat", "/f", "/h") == ("onetwo" if name == "g" else "twotwo")


def test_a_stage_inherits_the_arguments_of_the_one_it_is_from(context: Context) -> None:
    context.dockerfile(
        "FROM busybox AS parent\nARG FOO=123\nENV E=$FOO\nFROM parent AS child\nRUN echo $FOO > /foo\nENV G=$FOO\n"
        "FROM busybox AS other\nRUN echo :$FOO: > /other\nFROM child\nCOPY --from=other /other /\n"
    ).ok("-t", "t", "--build-arg", "FOO=4")
    assert context.run("cat", "/foo", "/other").split() == ["4", "::"]
    assert "G=4" in context.engine.ok("image", "inspect", "-f", "{{.Config.Env}}", "t")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("ARG X\nFROM busybox\nRUN echo carried out\nFROM $X\n", 4, "base name ($X) should not be blank"),
        ("FROM busybox\nRUN echo carried out\nARG S=SIGNONE\nSTOPSIGNAL $S\n", 4, "invalid signal: SIGNONE"),
        ("FROM busybox\nRUN echo carried out\nVOLUME \"\"\n", 3, "VOLUME specified can not be an empty string"),
        ("FROM busybox\nRUN echo carried out\nRUN --mount=type=cach,target=/x true\n", 3,
         'unsupported mount type "cach" (did you mean cache?)'),
        ("FROM busybox\nRUN echo carried out\nCOPY --chmod=99 f /x\n", 3, 'invalid chmod parameter: "99"'),
        ("FROM busybox\nRUN echo carried out\nENV A=${B:?missing}\n", 3,
         'failed to process "${B:?missing}": B: missing'),
    ],
)  # fmt: skip
def test_mistakes_end_a_build_before_its_first_step(context: Context, text: str, line: int, words: str) -> None:
    done = context.write("f", "f").dockerfile(text).build("-t", "t")
    assert done.returncode == 1
    assert f"ERROR: failed to build: failed to solve: {words}" in done.stderr
    assert f"Dockerfile:{line}\n" in done.stderr
    assert "carried out" not in re.sub("RUN echo carried out", "", done.stderr)
    checked = context.build("--check")
    assert checked.returncode == 1
    assert f"ERROR: {words}" in checked.stderr
    assert f"Dockerfile:{line}\n" in checked.stderr


def test_a_mistake_in_a_stage_that_nobody_needs_is_for_the_check_only(context: Context) -> None:
    context.dockerfile("FROM busybox\nSTOPSIGNAL NONE\nFROM busybox\nRUN true\n").ok("-t", "t")
    assert "ERROR: invalid signal: NONE" in context.build("--check").stderr
    assert context.build("--check", "--target", "1").returncode == 0


def test_what_an_image_may_have_is_no_mistake(context: Context) -> None:
    """Its variables, when it is not here yet; those that its triggers bring, when it is."""
    context.dockerfile("FROM busybox\nENV SIGNAL=HUP\nONBUILD ENV OTHER=INT\n").ok("-t", "t")
    context.dockerfile("FROM t\nSTOPSIGNAL ${SIGNAL:?}\nLABEL l=${OTHER:?}\n").ok("-t", "t:2")
    assert (
        context.engine.ok("image", "inspect", "-f", "{{.Config.StopSignal}} {{.Config.Labels.l}}", "t:2") == "HUP INT"
    )
    context.engine.ok("rmi", "t:2")
    context.dockerfile("FROM none.such/none:such\nSTOPSIGNAL ${SIGNAL:?}\n")
    assert "Check complete, no warnings found." in context.build("--check").stdout


def test_a_mount_without_a_target_is_at_the_working_directory(context: Context) -> None:
    context.write("f", "here").dockerfile("FROM busybox\nWORKDIR /w\nRUN --mount=type=bind cat f > /out\n").ok(
        "-t", "t"
    )
    assert context.run("cat", "/out") == "here"
    context.dockerfile("FROM busybox\nRUN --mount=type=tmpfs true\n")
    assert 'failed to solve: invalid mount target "/"' in context.build().stderr


def test_a_build_is_warned_of_its_own_steps(context: Context) -> None:
    context.dockerfile("FROM scratch AS first\nENV a=$foo\nFROM scratch AS Second\nENV a=$bar\n")
    said = context.ok("-t", "t")
    assert "variable '$bar' (line 4)" in said
    assert "'$foo'" not in said
    # Of the file all of it counts.
    assert "Stage name 'Second' should be lowercase" in context.ok("-t", "t", "--target", "first")
    checked = context.build("--check").stdout
    assert "'$foo'" in checked
    assert "'$bar'" in checked
