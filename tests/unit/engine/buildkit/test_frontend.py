"""What the attributes of BuildKit's clients mean."""

import hashlib

import pytest

from rundlet.api.buildkit import (
    CacheEntry,
    CopyAction,
    Definition,
    Exporter,
    FileAction,
    FileOperation,
    Input,
    Operation,
    SourceOperation,
)
from rundlet.api.builds import BuildOptions, Output, Ulimit
from rundlet.api.protobuf import encode
from rundlet.engine.buildkit.frontend import Plan, plan
from rundlet.engine.buildkit.graphs import definition_of
from rundlet.errors import InvalidParameterError, NotSupportedError


def planned(attributes: dict[str, str], *exporters: Exporter, frontend: str = "dockerfile.v0") -> Plan:
    return plan(frontend, attributes, {}, exporters, (), (), ())


def options(attributes: dict[str, str]) -> BuildOptions:
    return planned(attributes).options


def test_everything_that_is_understood() -> None:
    found = options(
        {
            "build-arg:A": "1",
            "label:l": "v",
            "target": "t",
            "platform": "linux/amd64",
            "image-resolve-mode": "pull",
            "add-hosts": "a=1.2.3.4,b=::1",
            "force-network-mode": "none",
            "shm-size": "1024",
            "ulimit": "nofile=1:2,nproc=3",
            "cgroup-parent": "/p",
            "no-cache": "a,b",
            "vcs:source": "somewhere",
            "cache-imports": '[{"Type":"registry","Attrs":{"ref":"r/c"}}]',
        }
    )
    assert found.build_args == {"A": "1"}
    assert found.labels == {"l": "v"}
    assert (found.target, found.platform, found.pull) == ("t", "linux/amd64", True)
    assert found.extra_hosts == ("a:1.2.3.4", "b:::1")
    assert (found.network_mode, found.shm_size, found.cgroup_parent) == ("none", 1024, "/p")
    assert found.ulimits == (Ulimit("nofile", 1, 2), Ulimit("nproc", 3, 3))
    assert (found.no_cache, found.no_cache_filter) == (False, ("a", "b"))
    assert found.cache_from == ("type=registry,ref=r/c",)
    assert options({"no-cache": ""}).no_cache


def test_where_files_come_from() -> None:
    local = planned({"filename": "F", "context:a": "local:a2", "context:b": "docker-image://busybox"})
    assert (local.directory, local.dockerfile, local.remote, local.filename) == ("context", "dockerfile", "", "F")
    assert local.contexts == {"a": "a2"}
    assert local.options.contexts == {"a": "input:a", "b": "docker-image://busybox"}
    remote = planned({"context": "https://host/x.git"})
    assert (remote.remote, remote.dockerfile) == ("https://host/x.git", "")
    assert planned({"context": "https://host/x.git", "dockerfilekey": "dockerfile"}).dockerfile == "dockerfile"
    assert planned({"local-sessionid:context": "other"}).sessions == {"context": "other"}


def test_where_results_go() -> None:
    assert planned({}).options.outputs == (Output("cacheonly"),)
    many = planned(
        {}, Exporter("moby", {"name": "a,b", "push": "true", "unpack": "true"}), Exporter("local", {"dest": "x"})
    )
    assert many.options.outputs == (Output("image", {"name": "a,b", "push": "true"}), Output("local"))


@pytest.mark.parametrize(
    "source", ["docker/dockerfile", "docker/dockerfile:1.7", "docker.io/docker/dockerfile@sha256:x"]
)
def test_dockers_frontend_by_its_image_is_ours(source: str) -> None:
    assert planned({"source": source, "cmdline": source}, frontend="gateway.v0").filename == "Dockerfile"


@pytest.mark.parametrize(
    "attributes",
    [
        {"shm-size": "much"},
        {"ulimit": "nofile"},
        {"ulimit": "nofile=many"},
        {"add-hosts": "a"},
        {"cache-imports": "{"},
        {"image-resolve-mode": "never"},
        {"context:x": "oci-layout://store:tag@sha256:1"},
    ],
)
def test_what_is_wrong(attributes: dict[str, str]) -> None:
    with pytest.raises(InvalidParameterError):
        planned(attributes)


def test_annotations() -> None:
    notes = {
        "annotation.a": "1",
        "annotation-manifest[linux/arm64].org.b": "2",
        "annotation-manifest-descriptor.c": "x=y",
        "annotation-index.d": "3",
    }
    found = planned({"attest:sbom": ""}, Exporter("image", {"name": "x", **notes}), Exporter("local", notes)).options
    assert found.annotations == (
        "manifest:a=1",
        "manifest[linux/arm64]:org.b=2",
        "manifest-descriptor:c=x=y",
        "index:d=3",
    )
    assert found.outputs[0].attrs == {"name": "x"}
    # One image alone has no index, unless statements about it make one.
    assert planned({"platform": "linux/amd64,linux/arm64"}, Exporter("image", notes)).options.annotations
    for attributes in ({}, {"attest:provenance": "disabled=true"}):
        with pytest.raises(InvalidParameterError, match="index annotations not supported for single platform export"):
            planned(attributes, Exporter("image", notes))


@pytest.mark.parametrize(
    ("attributes", "exporter"),
    [
        ({}, Exporter("docker", {"tar": "false"})),
        ({}, Exporter("estargz")),
        ({"frontend.caps": "moby.buildkit.frontend.nothing"}, Exporter("tar")),
        ({"hostname-of-nothing": "x"}, Exporter("tar")),
    ],
)
def test_what_is_refused_by_name(attributes: dict[str, str], exporter: Exporter) -> None:
    with pytest.raises(NotSupportedError):
        planned(attributes, exporter)


def test_graphs_and_caches_that_are_refused() -> None:
    graph = Definition((run := encode(Operation(run=b"x")), encode(Operation((Input(digest(run)),)))))
    with pytest.raises(NotSupportedError, match=r"made by itself \(LLB\), of a command"):
        plan("dockerfile.v0", {}, {"context": graph}, (), (), (), ())
    with pytest.raises(InvalidParameterError):
        plan("dockerfile.v0", {}, {"context": Definition((b"\xff",))}, (), (), (), ())
    with pytest.raises(NotSupportedError, match="a comma in its name"):
        plan("dockerfile.v0", {}, {}, (), (), (CacheEntry("local", {"dest": "x,y"}),), ())
    with pytest.raises(InvalidParameterError, match="invalid digest"):
        plan("dockerfile.v0", {}, {}, (), (CacheEntry("local", {"src": "x", "digest": "y"}),), (), ())


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def graph_of(identifier: str, **attributes: str) -> Definition:
    names = {f"git.{name}": value for name, value in attributes.items()}
    source = encode(Operation(source=SourceOperation(identifier, names)))
    return Definition((source, encode(Operation((Input(digest(source)),)))))


def test_contexts_that_the_client_made_by_itself() -> None:
    inputs = {
        "context": graph_of("git://host/x.git#main:sub", fullurl="https://host/x.git"),
        "a": graph_of("docker-image://docker.io/library/busybox:latest"),
        "b": graph_of("local://there"),
        "c": definition_of("0123"),
    }
    attributes = {f"context:{name}": f"input:{name}" for name in ("a", "b", "c")}
    attributes |= {"context:c::linux/arm64": "input:c", "input:context": "https://host/x.git?ref=main"}
    found = plan("dockerfile.v0", attributes, inputs, (), (), (), ())
    assert (found.remote, found.dockerfile) == ("https://host/x.git#main:sub", "")
    assert found.options.contexts == {"a": "docker-image://docker.io/library/busybox:latest", "b": "input:b"}
    assert found.contexts == {"b": "there"}
    assert found.results == {"c": "0123", "c::linux/arm64": "0123"}
    with pytest.raises(InvalidParameterError, match="invalid input x for y"):
        planned({"context:y": "input:x"})
    with pytest.raises(NotSupportedError, match="from target:y"):
        planned({"context:x": "target:y"})
    with pytest.raises(NotSupportedError, match="main context"):
        plan("dockerfile.v0", {}, {"context": inputs["c"]}, (), (), (), ())


def test_a_directory_of_a_repository() -> None:
    """As ``bake`` has it for ``context = "./sub"`` of a definition in a repository."""
    git = encode(Operation(source=SourceOperation("git://host/x.git#main", {"git.fullurl": "https://host/x.git"})))

    def context(action: FileAction) -> str:
        copy = encode(Operation((Input(digest(git)),), files=FileOperation((action,))))
        graph = Definition((git, copy, encode(Operation((Input(digest(copy)),)))))
        return plan("dockerfile.v0", {}, {"context": graph}, (), (), (), ()).remote

    assert context(FileAction(-1, 0, CopyAction("/sub/", "/", contents=True))) == "https://host/x.git#main:sub"
    assert context(FileAction(-1, 0, CopyAction("../../a", "./", contents=True))) == "https://host/x.git#main:a"
    for action in (FileAction(-1, 0, CopyAction("f", "/")), FileAction(-1, 0, CopyAction("d", "/e", contents=True))):
        with pytest.raises(NotSupportedError, match="of files that are copied"):
            context(action)
    with pytest.raises(InvalidParameterError):
        context(FileAction(-1, 7, CopyAction("d", "/", contents=True)))


def test_what_is_asked_without_a_build() -> None:
    asked = {"requestid": "frontend.outline", "frontend.caps": "moby.buildkit.frontend.subrequests+forward"}
    assert planned(asked).request == "frontend.outline"
