"""``DOCKER_BUILDKIT=0 rundlet build``: the words, flags and exit codes of Docker's classic builder."""

from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.engines import Done, Engine

OLD = {"DOCKER_BUILDKIT": "0"}
HEAD = "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\n"


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    return Context(engine, tmp_path / "context")


def classic(context: Context, *words: str, stdin: str | None = None) -> Done:
    return context.engine.cli("build", *words, env=OLD, stdin=stdin)


def test_it_looks_as_it_does_with_docker(context: Context) -> None:
    context.dockerfile("FROM busybox\nCOPY a /a\nRUN echo said\n").write("a", context.path.name)
    done = classic(context, "-t", "t", "--iidfile", str(context.path.parent / "id"), str(context.path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(HEAD)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Sending build context to Docker daemon  ")
    assert lines[1] == "Step 1/3 : FROM busybox"
    assert lines[5] == "Step 3/3 : RUN echo said"
    assert lines[6].startswith(" ---> Running in ")
    assert lines[7] == "said"
    assert lines[8].startswith(" ---> Removed intermediate container ")
    identity = (context.path.parent / "id").read_text()
    assert lines[-3:] == [
        f" ---> {identity[7:19]}",
        f"Successfully built {identity[7:19]}",
        "Successfully tagged t:latest",
    ]
    quiet = classic(context, "-q", str(context.path))
    assert quiet.stdout == f"{identity}\n"
    nowhere = classic(context, "--iidfile", "/missing/id", str(context.path))
    assert (nowhere.returncode, nowhere.stderr.splitlines()[-1]) == (1, "open /missing/id: no such file or directory")


def test_a_failure_has_the_commands_own_code(context: Context) -> None:
    context.dockerfile("FROM busybox\nRUN echo why; exit 7\n")
    (context.path / "id").write_text("of a build before")
    done = classic(context, "--iidfile", str(context.path / "id"), str(context.path))
    assert done.returncode == 7
    assert done.stderr.endswith("The command '/bin/sh -c echo why; exit 7' returned a non-zero code: 7\n")
    assert done.stdout.endswith("\nwhy\n")
    assert not (context.path / "id").exists()
    quiet = classic(context, "-q", str(context.path))
    assert (quiet.returncode, quiet.stdout) == (7, "")
    assert "\nwhy\n" in quiet.stderr


def test_what_it_refuses(context: Context) -> None:
    done = classic(context, "--secret", "id=x", str(context.path))
    assert done.returncode == 125
    assert done.stderr.startswith("unknown flag: --secret\n\nUsage:  ")
    done = classic(context, str(context.path / "not-there"))
    assert done.stderr.endswith(f'\nunable to prepare context: path "{context.path}/not-there" not found\n')
    done = classic(context, str(context.path))
    place = f"{context.path.resolve()}/Dockerfile"
    assert done.stderr.endswith(f"evaluate symlinks in Dockerfile path: lstat {place}: no such file or directory\n")
    assert done.returncode == 1
    done = classic(context, "-", stdin="FROM busybox\nRUNN x\n")
    assert "\nError response from daemon: dockerfile parse error on line 2: unknown instruction: RUNN" in done.stderr
    done = context.engine.cli("build", str(context.path), env={"DOCKER_BUILDKIT": "perhaps"})
    assert done.returncode == 1
    assert done.stderr.startswith("DOCKER_BUILDKIT environment variable expects boolean value: ")


def test_an_explicit_buildkit_is_none_of_it(context: Context) -> None:
    context.dockerfile("FROM scratch\nLABEL a=b\n")
    done = context.engine.cli("buildx", "build", "--progress=plain", str(context.path), env=OLD)
    assert done.returncode == 0
    assert "Step 1/2" not in done.stdout
    assert "exporting to image" in done.stderr
    done = context.engine.cli("build", "--progress=plain", str(context.path), env={"DOCKER_BUILDKIT": "1"})
    assert "exporting to image" in done.stderr


def test_every_stage_is_carried_out_one_after_the_other(context: Context) -> None:
    stage = "FROM busybox\nCOPY a /a\n"
    context.dockerfile(f"{stage}LABEL stage=first\n{stage}FROM busybox\nLABEL a=b\n").write("a", str(context.path))
    done = classic(context, "-t", "t", str(context.path))
    assert done.returncode == 0, done.stderr
    assert "Step 7/7 : LABEL a=b" in done.stdout
    assert done.stdout.count(" ---> Using cache") == 1  # the second stage finds what the first one has made
    # Images without a name, and not hidden as the steps before them.
    [found] = context.engine.ok("images", "-q", "--filter", "label=stage=first", "--no-trunc").splitlines()
    assert context.engine.ok("image", "inspect", "-f", "{{.RepoTags}}", found) == "[]"
    done = classic(context, "--target", "0", "-q", str(context.path))
    assert done.stdout.strip() == found
    context.dockerfile("FROM busybox\nFROM busybox\nCOPY --from=1 /a /\n")
    done = classic(context, str(context.path))
    assert "invalid from flag value 1: refers to current build stage" in done.stderr


def test_a_volume_where_a_file_is(context: Context) -> None:
    for text, refused in (
        ("RUN touch /foo\nVOLUME /foo", True),
        ("RUN touch /foo && mkdir /bar\nRUN rm /foo && mkdir /foo\nVOLUME /foo /bar /new", False),
        ("RUN mkdir /a && touch /a/foo\nRUN rm -rf /a && mkdir /a\nVOLUME /a/foo", False),
    ):
        done = classic(context, "--no-cache", "-", stdin=f"FROM busybox\n{text}\n")
        assert ("cannot mount volume over existing file, file exists /" in done.stderr) is refused, (text, done.stderr)
        assert (done.returncode != 0) is refused
