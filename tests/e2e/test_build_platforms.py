"""Builds for several platforms: at the same time, and without changing what the names of base images mean here."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.building import Context
from tests.engines import Engine
from tools.own_registry import own_registry

ARM, INTEL = "linux/arm64", "linux/amd64"


@pytest.fixture
def context(new_engine: Callable[..., Engine], tmp_path: Path) -> Context:
    return Context(new_engine(), tmp_path / "context")


@pytest.fixture
def base(context: Context, tmp_path: Path) -> Iterator[str]:
    """A name in a registry that has images of two platforms, each with a file that tells which."""
    engine = context.engine
    with own_registry(tmp_path / "registry") as registry:
        name = f"{registry.address}/team/base"
        for platform in (INTEL, ARM):
            (tmp_path / "made-for").write_text(platform)
            with tarfile.open(tmp_path / "layer.tar", "w") as out:
                out.add(tmp_path / "made-for", "made-for")
            own = f"{name}:{platform.rpartition('/')[2]}"
            engine.ok("import", "--platform", platform, str(tmp_path / "layer.tar"), own)
            engine.ok("push", "-q", own)
        engine.ok("manifest", "create", "--insecure", f"{name}:all", f"{name}:amd64", f"{name}:arm64")
        engine.ok("manifest", "push", "--insecure", "-p", f"{name}:all")
        engine.ok("rmi", f"{name}:amd64", f"{name}:arm64")
        yield f"{name}:all"


def test_they_are_built_at_the_same_time(context: Context) -> None:
    context.dockerfile(
        "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\n"
        "RUN --mount=type=cache,target=/met touch /met/$TARGETARCH; i=0; "
        "until [ -e /met/amd64 ] && [ -e /met/arm64 ]; do i=$((i + 1)); [ $i -lt 600 ] || exit 9; sleep 0.05; done\n"
    )
    context.ok("--platform", f"{ARM},{INTEL}", "-t", "t")


def test_a_name_means_afterwards_what_it_did(context: Context, base: str, tmp_path: Path) -> None:
    engine = context.engine

    def made_for(platform: str) -> str:
        context.ok("--platform", platform, "-o", str(tmp_path / "out"))
        return (tmp_path / "out/made-for").read_text()

    context.dockerfile(f"FROM {base}\n")
    assert made_for(ARM) == ARM
    # Nobody has asked for the name here.
    assert base not in engine.ok("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    engine.ok("pull", "-q", base)
    before = engine.ok("image", "inspect", "-f", "{{.Id}} {{.Architecture}}", base)
    assert before.endswith("amd64")
    for words in ((), ("--pull",)):
        context.ok("--platform", ARM, "-o", str(tmp_path / "arm"), *words)
        assert (tmp_path / "arm/made-for").read_text() == ARM
        assert engine.ok("image", "inspect", "-f", "{{.Id}} {{.Architecture}}", base) == before
    context.ok("--platform", f"{INTEL},{ARM}", "-o", str(tmp_path / "both"))
    assert (tmp_path / "both/linux_arm64/made-for").read_text() == ARM
    assert (tmp_path / "both/linux_amd64/made-for").read_text() == INTEL
    assert engine.ok("image", "inspect", "-f", "{{.Id}} {{.Architecture}}", base) == before


def test_an_image_of_several_platforms_that_is_in_no_registry_is_a_base(context: Context, tmp_path: Path) -> None:
    context.dockerfile(
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /made-for\n"
        "FROM scratch\nCOPY --from=tools /made-for /\n"
    ).ok("--platform", f"{ARM},{INTEL}", "-t", "only/here:1")
    context.dockerfile("FROM only/here:1\nCOPY Dockerfile /again\n")
    context.ok("--platform", f"{ARM},{INTEL}", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out/linux_arm64/made-for").read_text() == f"{ARM}\n"
    assert (tmp_path / "out/linux_amd64/made-for").read_text() == f"{INTEL}\n"


def test_a_cache_of_several_platforms_serves_each(context: Context, base: str) -> None:
    """And leaves nothing here but the build's own images."""
    engine, cache = context.engine, base.replace(":all", ":cache")
    context.dockerfile(
        "FROM --platform=$BUILDPLATFORM busybox AS tools\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /made-for\n"
        "FROM scratch\nCOPY --from=tools /made-for /\n"
    )
    words = ("--platform", f"{ARM},{INTEL}")
    context.ok("-t", "t", *words, "--cache-to", f"type=registry,ref={cache},mode=max")
    made = engine.ok("image", "inspect", "-f", "{{.Id}}", "t")
    engine.ok("rmi", "t")
    engine.ok("builder", "prune", "-af")
    engine.ok("image", "prune", "-f")
    said = context.ok("-t", "t", *words, "--cache-from", f"type=registry,ref={cache}")
    for platform in (ARM, INTEL):
        number = next(line.split()[0] for line in said.splitlines() if f"[{platform} tools 2/2]" in line)
        assert f"{number} CACHED" in said, said
    assert engine.ok("image", "inspect", "-f", "{{.Id}}", "t") == made
    assert "team/cache" not in engine.ok("images", "--digests")
