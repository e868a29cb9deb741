"""How an image leaves a build: media types, compression, pushed by its digest, as a directory."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.building import Context
from tests.e2e.buildx import Files, Store, buildx
from tests.engines import Done, Engine
from tools.registry import Registry

from rundlet.api.buildkit import CacheEntry, CacheOptions, Exporter
from rundlet.oci.platform import Platform
from rundlet.transport.http2.grpc import CallError

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker"
FILE = "FROM busybox\nCOPY a /a\n"


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    return Context(engine, tmp_path / "context").dockerfile(FILE).write("a", f"a\n{tmp_path}\n" * 500)


class Archive:
    """An image as it came out."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path) as archive:
            self.members = {one.name: archive.extractfile(one).read() for one in archive if one.isreg()}  # type: ignore[union-attr]
        [self.entry] = json.loads(self.members["index.json"])["manifests"]
        self.manifest: dict[str, Any] = json.loads(self.blob(self.entry["digest"]))
        self.types = [layer["mediaType"] for layer in self.manifest.get("layers", ())]

    def blob(self, digest: str) -> bytes:
        return self.members[f"blobs/sha256/{digest.removeprefix('sha256:')}"]

    def starts(self) -> list[bytes]:
        """The first bytes of each layer."""
        return [self.blob(layer["digest"])[:4] for layer in self.manifest["layers"]]


def built(context: Context, output: str, *words: str) -> Archive:
    path = context.path.parent / "out.tar"
    done = context.build("-o", f"{output},dest={path}", *words)
    assert done.returncode == 0, done.stderr
    return Archive(path)


def test_oci_archives_have_ocis_types_and_load_again(context: Context) -> None:
    plain = built(context, "type=oci")
    assert plain.entry["mediaType"] == plain.manifest["mediaType"] == f"{OCI}.manifest.v1+json"
    assert plain.types == [f"{OCI}.layer.v1.tar+gzip"] * 2
    assert plain.manifest["config"]["mediaType"] == f"{OCI}.config.v1+json"
    named = built(context, "type=oci", "-t", "packed:1")
    assert named.entry["annotations"]["io.containerd.image.name"] == "docker.io/library/packed:1"
    assert named.entry["digest"] == plain.entry["digest"]
    context.engine.ok("rmi", "packed:1")
    context.engine.ok("load", "-i", str(context.path.parent / "out.tar"))
    assert context.run("head", "-c", "2", "/a", image="packed:1") == "a"
    other = built(context, "type=oci,oci-mediatypes=false")
    assert other.types == [f"{DOCKER}.image.rootfs.diff.tar.gzip"] * 2
    turned = built(context, "type=docker,oci-mediatypes=true")
    assert turned.entry["digest"] == plain.entry["digest"]


def test_compression_is_of_what_the_build_made_unless_it_is_forced(context: Context) -> None:
    zstd = built(context, "type=oci,compression=zstd", "-t", "packed:2")
    assert zstd.types == [f"{OCI}.layer.v1.tar+gzip", f"{OCI}.layer.v1.tar+zstd"]
    assert zstd.starts()[1] == b"\x28\xb5\x2f\xfd"
    forced = built(context, "type=oci,compression=zstd,force-compression=true", "-t", "packed:2")
    assert forced.types == [f"{OCI}.layer.v1.tar+zstd"] * 2
    context.engine.ok("rmi", "packed:2")
    context.engine.ok("load", "-i", str(context.path.parent / "out.tar"))
    assert context.run("head", "-c", "2", "/a", image="packed:2") == "a"
    plain = built(context, "type=docker,compression=uncompressed,force-compression=true")
    assert plain.types == [f"{DOCKER}.image.rootfs.diff.tar"] * 2
    diff_ids = json.loads(plain.blob(plain.manifest["config"]["digest"]))["rootfs"]["diff_ids"]
    assert [layer["digest"] for layer in plain.manifest["layers"]] == diff_ids
    best = built(context, "type=docker,compression-level=9")
    least = built(context, "type=docker,compression-level=1")
    sizes = [one.manifest["layers"][1]["size"] for one in (best, least)]
    assert sizes[0] < sizes[1]


def refused(context: Context, output: str) -> str:
    done: Done = context.build("-o", output)
    assert done.returncode == 1
    return done.stderr


def test_what_is_refused(context: Context) -> None:
    out = f"dest={context.path.parent / 'out.tar'}"
    assert "compression estargz is not supported by Rundlet" in refused(context, f"type=oci,{out},compression=estargz")
    assert "unsupported layer compression type lz4" in refused(context, f"type=oci,{out},compression=lz4")
    assert "non-integer value x specified" in refused(context, f"type=oci,{out},compression-level=x")
    assert "gzip goes from 0 to 9" in refused(context, f"type=oci,{out},compression-level=10")
    assert "can't push tagged ref docker.io/library/a:1 by digest" in refused(
        context, "type=image,name=a:1,push-by-digest=true,push=true"
    )


def test_an_annotated_manifest_needs_no_index(context: Context, registry: Registry) -> None:
    name = f"{registry.address}/noted:1"
    context.ok("--annotation", "a=b", "-t", name, "--push")
    request = urllib.request.Request(f"http://{registry.address}/v2/noted/manifests/1")
    request.add_header("Accept", f"{OCI}.manifest.v1+json, {OCI}.index.v1+json")
    with urllib.request.urlopen(request) as answer:
        assert json.loads(answer.read())["annotations"] == {"a": "b"}
    context.engine.ok("rmi", name)
    noted = built(context, "type=oci", "--annotation", "a=b", "-t", "packed:3")
    assert noted.manifest["annotations"] == {"a": "b"}
    assert noted.entry["mediaType"] == f"{OCI}.manifest.v1+json"
    listed = built(context, "type=oci", "--annotation", "manifest-descriptor:a=b", "-t", "packed:3")
    assert listed.entry["mediaType"] == f"{OCI}.index.v1+json"
    context.engine.ok("rmi", "packed:3")


def test_a_name_points_at_what_the_last_build_was_asked_for(context: Context) -> None:
    first = built(context, "type=oci", "-t", "packed:6", "--provenance=true")
    assert first.entry["mediaType"] == f"{OCI}.index.v1+json"
    # The same image once more, without statements: the index of before is none of its business.
    context.ok("-t", "packed:6")
    context.engine.ok("save", "-o", str(context.path.parent / "saved.tar"), "packed:6")
    assert "layers" in Archive(context.path.parent / "saved.tar").manifest
    context.engine.ok("rmi", "packed:6")


def test_an_index_of_one_platform(context: Context, tmp_path: Path) -> None:
    words = ("--build-arg", "BUILDKIT_MULTI_PLATFORM=1")
    assert built(context, "type=oci", *words).entry["mediaType"] == f"{OCI}.index.v1+json"
    assert built(context, "type=oci").entry["mediaType"] == f"{OCI}.manifest.v1+json"
    context.ok("-o", str(tmp_path / "out"), *words)
    (directory,) = (tmp_path / "out").iterdir()
    assert directory.name == str(Platform.host()).replace("/", "_")
    assert "invalid value perhaps" in context.build("--build-arg", "BUILDKIT_MULTI_PLATFORM=perhaps").stderr


def test_times_are_rewritten_where_there_is_one_to_take(context: Context) -> None:
    output, date = "type=oci,rewrite-timestamp=true", ("--build-arg", "SOURCE_DATE_EPOCH=1000")
    archive = built(context, output, *date)
    layer = gzip.decompress(archive.blob(archive.manifest["layers"][1]["digest"]))
    with tarfile.open(fileobj=io.BytesIO(layer)) as members:
        assert [member.mtime for member in members] == [1000]
    refused = context.build("-o", "type=image,rewrite-timestamp=perhaps", *date)
    assert "invalid value perhaps: neither true nor false" in refused.stderr
    # Without one it is built all the same.
    for asked, warned in ((output, True), ("type=oci,rewrite-timestamp=false", False)):
        done = context.build("-o", f"{asked},dest={context.path.parent / 'out.tar'}")
        assert done.returncode == 0, done.stderr
        assert ("rewrite-timestamp=true has no effect without SOURCE_DATE_EPOCH" in done.stderr) is warned
    refused = context.build("-o", "type=image,rewrite-timestamp=false", *date)
    assert "rewrite-timestamp=false with SOURCE_DATE_EPOCH is not supported by Rundlet" in refused.stderr


def test_what_is_asked_of_a_cache_has_an_effect_or_is_refused(context: Context) -> None:
    for words, said in (
        ("type=local,dest=/nowhere,compression=zstd", "attribute compression of --cache-to"),
        ("type=registry,ref=a/b,image-manifest=true", "attribute image-manifest of --cache-to"),
        ("type=inline,mode=max", "attribute mode of --cache-to"),
        ("type=gha", "--cache-to of type gha"),
    ):
        assert f"{said} {words}".removesuffix(" type=gha") in context.build("--cache-to", words).stderr
    lost = "type=registry,ref=127.0.0.1:1/lost:1"
    assert context.build("-t", "packed:4", "--cache-to", lost).returncode == 1
    assert "failed to export cache" in context.ok("-t", "packed:4", "--cache-to", f"{lost},ignore-error=true")
    context.engine.ok("rmi", "packed:4")


async def test_what_a_client_asks_of_a_cache_in_a_directory(engine: Engine, context: Context) -> None:
    entry = CacheEntry("local", {"dest": "x", "tag": "t", "compression": "zstd"})
    async with buildx(engine.socket, Files({"context": context.path, "dockerfile": context.path})) as client:
        with pytest.raises(CallError, match="attribute compression of --cache-to"):
            await client.solve("r1", {}, cache=CacheOptions(exports=(entry,)))
        answer = await client.solve("r2", {"multi-platform": "true"}, Exporter("moby", {"name": "packed:5"}))
    kind = json.loads(base64.b64decode(answer["containerimage.descriptor"]))["mediaType"]
    assert kind == f"{OCI}.index.v1+json"
    engine.ok("rmi", "packed:5")


def test_pushed_by_digest_and_known_by_it(context: Context, registry: Registry, tmp_path: Path) -> None:
    """As workflows do it that build each platform elsewhere, and put an index together of the digests."""
    engine, name = context.engine, f"{registry.address}/by/digest"
    meta = tmp_path / "meta"
    words = f"type=image,name={name},push-by-digest=true,name-canonical=true,push=true,compression=zstd"
    done = context.build("-o", words, "--metadata-file", str(meta))
    assert done.returncode == 0, done.stderr
    digest = json.loads(meta.read_text())["containerimage.digest"]
    assert json.loads(meta.read_text())["image.name"] == name
    image = json.loads(meta.read_text())["containerimage.config.digest"]
    assert engine.ok("image", "inspect", "-f", "{{.RepoTags}} {{.RepoDigests}}", image) == f"[] [{name}@{digest}]"
    assert f"{name}:latest" not in engine.ok("images", "--format", "{{.Repository}}:{{.Tag}}")
    engine.ok("rmi", image)
    assert engine.ok("pull", "-q", f"{name}@{digest}") == f"{name}@{digest}"
    assert context.run("head", "-c", "2", "/a", image=f"{name}@{digest}") == "a"
    engine.ok("rmi", f"{name}@{digest}")


async def test_a_directory_of_the_clients(engine: Engine, context: Context) -> None:
    """``type=oci,tar=false``: the client's store gets the blobs, and its index is the client's to write."""
    store = Store()
    files = Files({"context": context.path, "dockerfile": context.path})
    async with buildx(engine.socket, files, store=store) as client:
        response = await client.solve("r1", {}, Exporter("oci", {"tar": "false", "name": "packed:3"}))
    manifest = json.loads(store.blobs[response["containerimage.digest"]])
    assert {one["digest"] for one in (manifest["config"], *manifest["layers"])} < set(store.blobs)
    assert len(store.blobs) == 4
    engine.ok("rmi", "packed:3")


def test_a_base_that_was_loaded_plain_leaves_compressed(context: Context, registry: Registry, tmp_path: Path) -> None:
    """And what speaks of the image's manifest speaks of the one that was pushed."""
    engine, name, base = context.engine, f"{registry.address}/on/plain:1", "plain-base:1"
    archive = tmp_path / "plain.tar"
    with tarfile.open(archive, "w") as out:
        _member(out, "layer.tar", layer := _layer(tmp_path))
        document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]}}
        _member(out, "config.json", json.dumps(document).encode())
        entry = {"Config": "config.json", "RepoTags": [base], "Layers": ["layer.tar"]}
        _member(out, "manifest.json", json.dumps([entry]).encode())
    engine.ok("load", "-i", str(archive))
    meta = tmp_path / "meta"
    done = context.dockerfile(f"FROM {base}\nCOPY a /a\n").build("-t", name, "--push", "--metadata-file", str(meta))
    assert done.returncode == 0, done.stderr
    said = json.loads(meta.read_text())["containerimage.digest"]
    with urllib.request.urlopen(_manifest_request(registry.address, "on/plain", "1")) as answer:
        assert answer.headers["Docker-Content-Digest"] == said
        layers = json.load(answer)["layers"]
    assert [layer["mediaType"] for layer in layers] == [f"{DOCKER}.image.rootfs.diff.tar.gzip"] * 2
    assert engine.ok("image", "inspect", "-f", "{{.RepoDigests}}", name) == f"[{registry.address}/on/plain@{said}]"
    engine.ok("rmi", name, base)


def _layer(tmp_path: Path) -> bytes:
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w") as out:
        _member(out, "etc/name", str(tmp_path).encode() * 100)
    return path.read_bytes()


def _member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _manifest_request(address: str, repository: str, tag: str) -> urllib.request.Request:
    accept = {"Accept": f"{DOCKER}.distribution.manifest.v2+json"}
    return urllib.request.Request(f"http://{address}/v2/{repository}/manifests/{tag}", headers=accept)


def test_a_cache_of_all_stages_travels_compressed(context: Context, registry: Registry) -> None:
    """Also a stage of it that stands on an image which was loaded with plain layers."""
    engine, name = context.engine, f"{registry.address}/cache/packed:1"
    built(context, "type=docker,compression=uncompressed,force-compression=true", "-t", "packed:7")
    engine.ok("rmi", "packed:7")
    engine.ok("image", "prune", "-f")
    engine.ok("builder", "prune", "-af")
    engine.ok("load", "-i", str(context.path.parent / "out.tar"))
    # The name means something else here, and goes on doing so.
    engine.ok("tag", "busybox", name)
    context.dockerfile("FROM packed:7 AS made\nRUN echo made > /r\nFROM busybox\nCOPY --from=made /r /\n")
    context.ok("-t", "packed:8", "--cache-to", f"type=registry,ref={name},mode=max")
    documents = [json.loads(registry_document(registry, "cache/packed", "1"))]
    documents = [
        json.loads(registry_document(registry, "cache/packed", one["digest"])) for one in documents[0]["manifests"]
    ]
    assert [len(one["layers"]) for one in documents] == [2, 3]
    assert {layer["mediaType"] for one in documents for layer in one["layers"]} == {
        f"{DOCKER}.image.rootfs.diff.tar.gzip"
    }
    assert engine.field(name, "{{.Id}}") == engine.field("busybox", "{{.Id}}")
    engine.ok("rmi", name, "packed:8")
    engine.ok("rmi", "packed:7")


def test_an_image_that_is_not_stored_is_cache(context: Context, registry: Registry) -> None:
    """It goes to its registry, with all its platforms, and nothing here is called so."""
    engine, name = context.engine, f"{registry.address}/not/stored"
    engine.ok("tag", "busybox", f"{name}:1")
    words = ("--platform", "linux/amd64,linux/arm64", "-t", f"{name}:1")
    context.dockerfile("FROM scratch\nCOPY a /a\nLABEL not=stored\n")
    said = context.ok(*words, "-o", f"type=image,name={name}:2,push=true,store=false,unpack=false,name-canonical=true")
    assert "naming to" not in said
    for tag in ("1", "2"):
        index = json.loads(registry_document(registry, "not/stored", tag))
        assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "arm64"]
    assert engine.field(f"{name}:1", "{{.Id}} {{.RepoDigests}}") == engine.field("busybox", "{{.Id}} {{.RepoDigests}}")
    assert f"{name}:2" not in engine.ok("images", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}}")
    assert "CACHED" in context.ok("-o", "type=image,store=false")
    made = ("images", "-aq", "--filter", "label=not=stored")
    assert engine.ok(*made)
    engine.ok("builder", "prune", "-f")
    assert not engine.ok(*made)
    # One that is stored beside it keeps its names, and is more than cache.
    context.ok("-o", f"type=image,name={name}:3,push=true,store=false", "-o", "type=image,name=packed:9")
    assert engine.field("packed:9", "{{.RepoTags}}") == "[packed:9]"
    assert registry_document(registry, "not/stored", "3")
    # An archive beside it is of what was built, not of what the name means here.
    archive = built(context, "type=docker", "-o", f"type=image,name={name}:1,store=false")
    assert json.loads(archive.blob(archive.manifest["config"]["digest"]))["config"]["Labels"] == {"not": "stored"}
    engine.ok("rmi", f"{name}:1", "packed:9")


def test_each_of_several_images_is_pushed_as_it_is_asked_for(context: Context, registry: Registry) -> None:
    name = f"{registry.address}/several"
    made = context.ok(
        "-o", f"type=image,name={name}:gone,push=true,store=false,compression=uncompressed,force-compression=true",
        "-o", f"type=image,name={name}:zstd,push=true,compression=zstd,force-compression=true",
        "-o", f"type=image,name={name}:gzip,push=true",
    )  # fmt: skip
    assert made.count("naming to") == 2
    for tag, ending in (("gone", ".tar"), ("zstd", "+zstd"), ("gzip", "gzip")):
        layers = json.loads(registry_document(registry, "several", tag))["layers"]
        assert all(layer["mediaType"].endswith(ending) for layer in layers), tag
    # The first one that has a name here says what the names mean.
    for tag in ("zstd", "gzip"):
        context.engine.ok("push", f"{name}:{tag}")
        layers = json.loads(registry_document(registry, "several", tag))["layers"]
        assert layers[0]["mediaType"].endswith("+zstd")
    context.engine.ok("rmi", f"{name}:zstd", f"{name}:gzip")


async def test_a_client_of_buildkit_stores_nothing(engine: Engine, context: Context, registry: Registry) -> None:
    name = f"{registry.address}/not/kept:1"
    files = Files({"context": context.path, "dockerfile": context.path})
    async with buildx(engine.socket, files) as client:
        await client.solve(
            "r1", {}, Exporter("image", {"name": name, "push": "true", "store": "false", "unpack": "false"})
        )
    assert registry_document(registry, "not/kept", "1")
    assert engine.cli("image", "inspect", name).returncode == 1


def registry_document(registry: Registry, repository: str, reference: str) -> bytes:
    request = urllib.request.Request(f"http://{registry.address}/v2/{repository}/manifests/{reference}")
    kinds = (f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json", f"{DOCKER}.distribution.manifest.v2+json")
    request.add_header("Accept", ", ".join(kinds))
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())
