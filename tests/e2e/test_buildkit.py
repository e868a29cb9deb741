"""BuildKit's protocol: builds of ``docker buildx`` (played by tests/e2e/buildx) and of Docker's client before it."""

import asyncio
import contextlib
import hashlib
import io
import json
import os
import re
import socket
import tarfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from tests.conftest import docker_programs, lacking
from tests.e2e.buildx import CONTROL, Buildx, Files, Receiving, Store, buildx, upgraded
from tests.engines import Engine, wait_for
from tests.webserver import serving_files

from rundlet.api.buildkit import (
    BlobDescriptor,
    BuildRecord,
    CacheEntry,
    CacheOptions,
    ContentReadRequest,
    ContentReadResponse,
    CopyAction,
    Definition,
    Empty,
    Exporter,
    FileAction,
    FileOperation,
    FileRange,
    FrontendRequest,
    FrontendResponse,
    HistoryEvent,
    HistoryEventType,
    HistoryRequest,
    HistoryUpdate,
    InfoResponse,
    Input,
    Operation,
    PruneRequest,
    ReadFileRequest,
    ReadFileResponse,
    Result,
    ReturnRequest,
    SolveRequest,
    SourceOperation,
    Status,
    StatusRequest,
    StatusResponse,
    UsageRequest,
    UsageResponse,
    WorkersResponse,
)
from rundlet.api.buildkit_session import FileStat, StatFileRequest, StatFileResponse
from rundlet.api.protobuf import Message, decode, encode
from rundlet.transport.http2.grpc import CallError, Code

FILE = """\
FROM busybox
ARG who=world
COPY file sub /dst/
RUN echo "hello $who" | tee /greeting
CMD ["cat", "/greeting", "/dst/file"]
"""
IMAGE = Exporter("moby", {"name": "docker.io/library/bk:1"})


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text(FILE)
    (root / "file").write_text("a file\n")
    (root / "sub/inner").write_bytes(bytes(3_000_000))
    # Files that changed this very moment are always sent again.
    for path in root.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return root


def files_of(context: Path) -> Files:
    return Files({"context": context, "dockerfile": context})


async def test_a_build(engine: Engine, context: Path) -> None:
    files = files_of(context)
    async with buildx(engine.socket, files) as client:
        response = await client.solve("r1", {"filename": "Dockerfile", "build-arg:who": "buildx"}, IMAGE)
    image = response["containerimage.config.digest"]
    assert response["image.name"] == "docker.io/library/bk:1"
    assert engine.ok("image", "inspect", "-f", "{{.Id}}", "bk:1") == image
    assert engine.ok("run", "--rm", "bk:1") == "hello buildx\na file"
    assert client.log == b"hello buildx\n"
    assert client.steps['[3/3] RUN echo "hello $who" | tee /greeting'] == "done"
    assert client.steps["[internal] load build context"] == client.steps["exporting to image"] == "done"
    assert files.sent == ["Dockerfile", "Dockerfile", "file", "sub/inner"]


async def test_what_has_not_changed_is_neither_sent_nor_built_again(engine: Engine, context: Path) -> None:
    async with buildx(engine.socket, files_of(context)) as client:
        before = await client.solve("r1", {}, IMAGE)
    again = files_of(context)
    async with buildx(engine.socket, again) as client:
        assert await client.solve("r2", {}, IMAGE) == before
        assert client.steps["[2/3] COPY file sub /dst/"] == "cached"
    assert again.sent == ["Dockerfile"]
    (context / "file").write_text("another file\n")
    changed = files_of(context)
    async with buildx(engine.socket, changed) as client:
        await client.solve("r3", {"no-cache": ""}, IMAGE)
        assert client.steps["[2/3] COPY file sub /dst/"] == "done"
    assert changed.sent == ["Dockerfile", "file"]
    assert engine.ok("run", "--rm", "bk:1") == "hello world\nanother file"


async def test_what_is_ignored_is_not_there(engine: Engine, context: Path) -> None:
    (context / ".dockerignore").write_text("sub\n")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN ls /all\n")
    files = files_of(context)
    seen: list[str] = []

    def listed(stats: list[FileStat]) -> list[FileStat]:
        seen.extend(one.path for one in stats)
        return [one for one in stats if not one.path.startswith("sub")] if len(stats) > 2 else stats

    files.listed = listed
    async with buildx(engine.socket, files) as client:
        await client.solve("r1", {}, IMAGE)
    assert client.log == b"Dockerfile\nfile\n"
    assert ".dockerignore" in seen


@pytest.mark.parametrize("internal", [True, False])
async def test_a_status_that_comes_when_the_build_is_over(engine: Engine, context: Path, internal: bool) -> None:
    """As of the build in which buildx only looks around: it gives up what has not ended three seconds later."""
    async with buildx(engine.socket, files_of(context)) as client:
        ref = f"{client.session}-looking-around-{internal}"
        request = SolveRequest(ref=ref, session=client.session, internal=internal)
        solving = asyncio.create_task(client.control.ask(f"{CONTROL}/Solve", encode(request)))
        await client.bridge(ref, "Ping", encode(Empty()))
        await client.bridge(ref, "Return", encode(ReturnRequest(Result())))
        await solving
        async with asyncio.timeout(3), client.control.call(f"{CONTROL}/Status") as call:
            await call.send(encode(StatusRequest(ref)))
            await call.end()
            assert await call.next() is None


async def test_a_failing_step_shows_its_lines(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo before && exit 7\n")
    async with buildx(engine.socket, files_of(context)) as client:
        with pytest.raises(CallError) as caught:
            await client.solve("r1", {}, IMAGE)
    words = 'process "/bin/sh -c echo before && exit 7" did not complete successfully: exit code: 7'
    assert (caught.value.code, str(caught.value)) == (Code.UNKNOWN, words)
    assert client.log == b"before\n"
    assert client.steps["[2/2] RUN echo before && exit 7"] == words
    failed, detail = decode(Status, caught.value.details).details
    assert json.loads(failed.value)["digest"].startswith("sha256:")
    assert detail.type_url == "github.com/moby/buildkit/errdefs.Source+json"
    source = json.loads(detail.value)
    assert source["ranges"] == [{"start": {"line": 2}, "end": {"line": 2}}]
    assert source["info"]["filename"] == "Dockerfile"


async def test_secrets(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=one --mount=type=secret,id=none ls /run/secrets && wc -c /run/secrets/one\n"
    )
    async with buildx(engine.socket, files_of(context), secrets={"one": b"12345"}) as client:
        await client.solve("r1", {}, IMAGE)
    assert client.log == b"one\n5 /run/secrets/one\n"


async def test_other_contexts(engine: Engine, context: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "it").write_text("from elsewhere\n")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY --from=else it /\nRUN cat /it\n")
    files = Files({"context": context, "dockerfile": context, "else": other})
    async with buildx(engine.socket, files) as client:
        await client.solve("r1", {"context:else": "local:else"}, IMAGE)
    assert client.log == b"from elsewhere\n"


async def test_of_another_context_only_what_has_changed_is_sent_again(
    engine: Engine, context: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("one", "two", "three"):
        (other / name).write_text(f"{name}\n")
        os.utime(other / name, (1_700_000_000, 1_700_000_000))
    (context / "Dockerfile").write_text("FROM busybox\nCOPY --from=else . /all\nRUN cat /all/*\n")

    async def sent(ref: str) -> tuple[list[str], bytes]:
        files = Files({"context": context, "dockerfile": context, "else": other})
        async with buildx(engine.socket, files) as client:
            await client.solve(ref, {"context:else": "local:else"}, IMAGE)
        return sorted(set(files.sent) - {"Dockerfile", "file", "sub/inner"}), client.log

    assert await sent("r1") == (["one", "three", "two"], b"one\nthree\ntwo\n")
    assert await sent("r2") == ([], b"")
    (other / "two").write_text("another\n")
    (other / "three").unlink()
    assert await sent("r3") == (["two"], b"one\nanother\n")


async def test_contexts_in_the_place_of_images(engine: Engine, context: Path, tmp_path: Path) -> None:
    """A directory (its own ignore file counts), a file at a URL, another image."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "it").write_text("from elsewhere\n")
    (other / "not").write_text("")
    (other / ".dockerignore").write_text("not\n")
    (context / "Dockerfile").write_text(
        "FROM alpine:latest\nCOPY --from=files . /all/\nCOPY --from=web /file /web\nRUN ls /all && cat /all/it /web\n"
        "FROM files\nCOPY --from=0 /web /\n"
    )
    with serving_files(context) as url:
        attributes = {
            "context:alpine": "docker-image://busybox",
            "context:files": "local:else",
            "context:web": f"{url}/file",
        }
        files = Files({"context": context, "dockerfile": context, "else": other})
        files.listed = lambda stats: [one for one in stats if one.path != "not"]
        async with buildx(engine.socket, files) as client:
            await client.solve("r1", attributes, IMAGE)
    assert client.log == b"it\nfrom elsewhere\na file\n"
    assert files.excluded == {"else": "not"}
    engine.ok("create", "--name", "only-files", "bk:1", "x")
    assert engine.ok("cp", "only-files:/it", "-").count("from elsewhere\n") == 1
    engine.ok("rm", "only-files")


def second_build(
    client: Buildx,
) -> tuple[list[asyncio.Task[dict[str, str]]], Callable[[FrontendResponse], Awaitable[None]]]:
    """What begins a build of ``other`` on top of the first one, which hasn't begun yet; and its task, once it has."""
    solving: list[asyncio.Task[dict[str, str]]] = []

    async def begin(answer: FrontendResponse) -> None:
        assert answer.result is not None
        assert answer.result.ref is not None
        assert answer.result.ref.definition is not None
        attributes = {"context:first": "input:first", "filename": "other"}
        inputs = {"first": answer.result.ref.definition}
        solving.append(asyncio.create_task(client.solve("second", attributes, IMAGE, inputs=inputs)))

    return solving, begin


async def test_a_build_is_another_ones_context(engine: Engine, context: Path) -> None:
    """As bake does it with ``target:``, and Compose with ``service:``: both at once."""
    (context / "Dockerfile").write_text("FROM busybox\nENV who=base\nRUN echo base > /base\n")
    (context / "other").write_text("FROM first\nRUN echo $who > /who\nFROM scratch\nCOPY --from=0 /who /base /\n")
    async with buildx(engine.socket, files_of(context)) as client:
        solving, dependent = second_build(client)
        # Without an output of its own.
        assert await client.solve("first", {}, meanwhile=dependent) == {}
        await solving[0]
        assert client.steps["[stage-0 1/2] FROM first"] == "done"
    engine.ok("create", "--name", "other", "bk:1", "x")
    assert engine.ok("cp", "other:/who", "-").count("base\n") == 1
    engine.ok("rm", "other")


async def test_a_context_that_fails_fails_what_needs_it(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
    (context / "other").write_text("FROM first\n")
    async with buildx(engine.socket, files_of(context)) as client:
        solving, dependent = second_build(client)
        for build in (lambda: client.solve("first", {}, meanwhile=dependent), lambda: solving[0]):
            with pytest.raises(CallError, match="exit code: 3"):
                await build()


async def test_files_of_a_source_are_looked_at(engine: Engine, context: Path) -> None:
    """As ``buildx build -f https://…`` and a remote ``buildx bake`` do it, before they build."""
    with tarfile.open(context / "all.tar", "w") as archive:
        archive.add(context / "file", "inside")
    ref = "looking"
    with serving_files(context) as url:
        async with buildx(engine.socket, files_of(context)) as client:
            looking = asyncio.create_task(
                client.control.ask(f"{CONTROL}/Solve", encode(SolveRequest(ref, internal=True)))
            )

            async def bridge(method: str, message: Message) -> bytes:
                return await client.bridge(ref, method, encode(message))

            async def source(definition: Definition) -> str:
                answer = decode(FrontendResponse, await bridge("Solve", FrontendRequest(definition)))
                assert answer.result is not None
                assert answer.result.ref is not None
                return answer.result.ref.id

            file = await source(graph(SourceOperation(f"{url}/file", {"http.filename": "context"})))
            read = decode(ReadFileResponse, await bridge("ReadFile", ReadFileRequest(file, "context", FileRange(2, 3))))
            assert read.data == b"fil"
            found = decode(StatFileResponse, await bridge("StatFile", StatFileRequest(file, "/context"))).stat
            assert (found and found.size, found and found.path) == (7, "context")
            unpack = FileOperation((FileAction(-1, 0, CopyAction("/context", "/", unpack=True)),))
            tree = await source(graph(SourceOperation(f"{url}/all.tar"), unpack))
            read = decode(ReadFileResponse, await bridge("ReadFile", ReadFileRequest(tree, "inside")))
            assert read.data == b"a file\n"
            for wrong, words in (
                (ReadFileRequest(tree, "../../etc/passwd"), "no such file or directory"),
                (ReadFileRequest(tree, "inside", FileRange(-1)), "from an offset on"),
                (ReadFileRequest("tree-none", "inside"), "no source that was fetched"),
            ):
                with pytest.raises(CallError, match=words):
                    await bridge("ReadFile", wrong)
            with pytest.raises(CallError, match="look at docker-image://x"):
                await source(graph(SourceOperation("docker-image://x")))
            await bridge("Return", ReturnRequest(Result()))
            await looking
    assert not [name for name in os.listdir(engine.layout.builds) if not name.startswith("kept-")]


def graph(source: SourceOperation, files: FileOperation | None = None) -> Definition:
    operations = [encode(Operation(source=source))]
    if files is not None:
        operations.append(encode(Operation((Input(digest(operations[-1])),), files=files)))
    return Definition((*operations, encode(Operation((Input(digest(operations[-1])),)))))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_a_dockerfile_is_asked_about(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox as a\nARG X=1\nRUN exit 3\n")
    answers: list[Mapping[str, bytes]] = []

    async def keep(answer: FrontendResponse) -> None:
        assert answer.result is not None
        answers.append(answer.result.metadata)

    files = files_of(context)
    async with buildx(engine.socket, files) as client:
        for kind in ("lint", "outline", "targets", "subrequests.describe"):
            assert await client.solve(kind, {"requestid": f"frontend.{kind}"}, meanwhile=keep) == {}
        with pytest.raises(CallError, match=r"call frontend\.x of a build"):
            await client.solve("x", {"requestid": "frontend.x"})
    lint, outline, targets, offered = (json.loads(answer["result.json"]) for answer in answers)
    assert [one["ruleName"] for one in lint["warnings"]] == ["FromAsCasing"]
    assert [answer["result.statuscode"] for answer in answers] == [b"1", b"0", b"0", b"0"]
    assert b"Dockerfile:1\n" in answers[0]["result.txt"]
    assert (outline["name"], outline["args"][0]["value"]) == ("a", "1")
    assert targets["targets"][0]["base"] == "busybox"
    assert answers[2]["result.txt"] == b"TARGET      DESCRIPTION\na (default) \n"
    assert {one["name"] for one in offered} >= {"frontend.lint", "frontend.outline", "frontend.targets"}
    # Nothing was built for it, nothing but the Dockerfile sent.
    assert set(files.sent) == {"Dockerfile"}


@pytest.mark.parametrize(
    ("text", "rules", "error", "line"),
    [
        ("FROM scratch AS Name\nMAINTAINER me\nBADCMD\n", ["StageNameCasing", "MaintainerDeprecated"],
         "dockerfile parse error on line 3: unknown instruction: BADCMD", 3),
        ("FROM scratch\nMAINTAINER me\nSTOPSIGNAL NONE\n", ["MaintainerDeprecated"], "invalid signal: NONE", 3),
        ("#check=error=true\nFROM scratch as base\n", ["FromAsCasing"],
         "lint violation found for rules: FromAsCasing", 2),
    ],
)  # fmt: skip
async def test_a_check_tells_what_would_end_a_build(
    engine: Engine, context: Path, text: str, rules: list[str], error: str, line: int
) -> None:
    (context / "Dockerfile").write_text(text)
    found: list[dict[str, bytes]] = []

    async def keep(answer: FrontendResponse) -> None:
        assert answer.result is not None
        found.append(dict(answer.result.metadata))

    async with buildx(engine.socket, files_of(context)) as client:
        await client.solve("r1", {"requestid": "frontend.lint"}, meanwhile=keep)
    document = json.loads(found[0]["result.json"])
    assert [one["ruleName"] for one in document["warnings"]] == rules
    assert document["buildError"]["message"] == error
    assert document["buildError"]["location"]["ranges"][0]["start"]["line"] == line
    assert found[0]["result.statuscode"] == b"1"


async def test_caches_and_images_in_stores_of_the_client(engine: Engine, context: Path) -> None:
    """``--cache-to`` and ``--cache-from type=local``, ``--build-context x=oci-layout://…``."""
    (context / "Dockerfile").write_text("FROM busybox AS one\nRUN date > /t\nFROM busybox\nCOPY --from=one /t /\n")
    store = Store()
    target, step = CacheEntry("local", {"dest": "/dir", "mode": "max"}), "[one 2/2] RUN date > /t"
    async with buildx(engine.socket, files_of(context), store=store) as client:
        response = await client.solve("r1", {}, cache=CacheOptions(exports=(target,)))
        index = json.loads(response["cache.manifest"])
        assert json.loads(store.blobs[index["digest"]])["manifests"]
        engine.ok("builder", "prune", "-af")
        source = CacheEntry("local", {"src": "/dir", "digest": index["digest"]})
        await client.solve("r2", {}, cache=CacheOptions(imports=(source,)))
        assert client.steps[step] == "cached"
        # One that isn't there is no error.
        gone = CacheEntry("local", {"src": "/dir", "digest": f"sha256:{64 * '0'}"})
        (context / "Dockerfile").write_text("FROM busybox\nRUN date > /x\n")
        await client.solve("r3", {}, cache=CacheOptions(imports=(gone, CacheEntry("local", {"src": "/none"}))))
        # Any image can be what a build stands on.
        (context / "Dockerfile").write_text("FROM x\nRUN ls /t\n")
        await client.solve("r4", {"context:x": f"oci-layout://store:tag@{index['digest']}"})
        assert client.log.endswith(b"/t\n")
        blob = next(name for name, data in store.blobs.items() if data[:2] != b'{"' and len(data) > 1000)
        store.blobs[blob] += b"more"
        engine.ok("builder", "prune", "-af")
        engine.ok("image", "prune", "-f")
        with pytest.raises(CallError, match="has not the size"):
            await client.solve("r5", {"context:x": f"oci-layout://store:tag@{index['digest']}"})


async def history(client: Buildx, ref: str = "", *filters: str) -> list[BuildRecord]:
    request = HistoryRequest(early_exit=True, ref=ref, filters=filters)
    found = []
    async with client.control.call(f"{CONTROL}/ListenBuildHistory") as call:
        await call.send(encode(request))
        await call.end()
        while (message := await call.next()) is not None:
            record = decode(HistoryEvent, message).record
            assert record is not None
            found.append(record)
    return found


async def content(client: Buildx, blob: BlobDescriptor) -> bytes:
    data = b""
    async with client.control.call("/containerd.services.content.v1.Content/Read") as call:
        await call.send(encode(ContentReadRequest(blob.digest)))
        await call.end()
        while (message := await call.next()) is not None:
            piece = decode(ContentReadResponse, message)
            assert piece.offset == len(data)
            data += piece.data
    return data


async def status(client: Buildx, ref: str) -> bytes:
    logs = b""
    async with client.control.call(f"{CONTROL}/Status") as call:
        await call.send(encode(StatusRequest(f"{client.session}-{ref}")))
        await call.end()
        while (message := await call.next()) is not None:
            logs += b"".join(one.data for one in decode(StatusResponse, message).logs)
    return logs


async def test_the_history_of_builds(engine: Engine, context: Path) -> None:
    update = f"{CONTROL}/UpdateBuildHistory"
    async with buildx(engine.socket, files_of(context)) as client:
        response = await client.solve("good", {"target": ""}, IMAGE)
        (context / "Dockerfile").write_text("FROM busybox\nRUN echo oh && exit 3\n")
        with pytest.raises(CallError):
            await client.solve("bad", {})
        mine = f"ref~={client.session}"
        bad, good = await history(client, "", mine)
        assert (good.ref, good.error, dict(good.response)) == (f"{client.session}-good", None, response)
        assert good.exporters == (IMAGE,)
        assert good.completed is not None
        assert good.total_steps == good.completed_steps > 5
        # How it came to be.
        assert good.result is not None
        [stated] = good.result.attestations
        assert stated.annotations == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
        predicate = json.loads(await content(client, stated))
        assert predicate["materials"][0]["uri"].startswith("pkg:docker/busybox@latest")
        assert predicate["metadata"]["completeness"]["parameters"] is True
        # How it failed, and what was said.
        assert bad.error is not None
        assert bad.error.message.endswith("exit code: 3")
        assert bad.external_error is not None
        details = decode(Status, await content(client, bad.external_error)).details
        assert [one.type_url.rpartition(".")[2] for one in details] == ["Vertex+json", "Source+json"]
        assert await status(client, "bad") == b"oh\n"
        assert bad.logs is not None
        assert len(await content(client, bad.logs)) == bad.logs.size
        # Some of them, none of them.
        assert await history(client, good.ref) == await history(client, "", f"{mine},status==completed") == [good]
        assert await history(client, "", f"{mine},status==running", f"{mine},startedAt<1h") == []
        with pytest.raises(CallError, match="invalid filter 'colour=red'"):
            await history(client, "", "colour=red")
        await client.control.ask(update, encode(HistoryUpdate(good.ref, pinned=True)))
        assert (await history(client, good.ref))[0].pinned
    engine.terminate()
    engine.start()
    # What an engine makes once, with its first container, is no test's.
    engine.ok("run", "--rm", "busybox", "true")
    async with buildx(engine.socket, files_of(context)) as client:
        assert [one.ref for one in await history(client, "", mine)] == [bad.ref, good.ref]
        await client.control.ask(update, encode(HistoryUpdate(good.ref, delete=True)))
        assert [one.ref for one in await history(client, "", mine)] == [bad.ref]
        with pytest.raises(CallError, match="no record of a build"):
            await client.control.ask(update, encode(HistoryUpdate(good.ref, delete=True)))
        with pytest.raises(CallError, match="not found"):
            await content(client, stated)


async def test_a_build_under_way_is_in_the_history(engine: Engine, context: Path) -> None:
    """Whoever comes later hears all that was said; who listens, how it ends."""
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo early; sleep 300\n")
    async with buildx(engine.socket, files_of(context)) as client:
        async with client.control.call(f"{CONTROL}/ListenBuildHistory") as call:
            await call.send(encode(HistoryRequest(filters=(f"ref~={client.session}",))))
            await call.end()
            building = asyncio.create_task(client.solve("long", {}))
            started = decode(HistoryEvent, await call.next() or b"")
            assert (started.type, started.record and started.record.completed) == (HistoryEventType.STARTED, None)
            async with client.control.call(f"{CONTROL}/Status") as late:
                await late.send(encode(StatusRequest(f"{client.session}-long")))
                await late.end()
                said = b""
                while b"early" not in said:
                    said += await late.next() or b""
            building.cancel()
            await asyncio.wait([building])
            ended = decode(HistoryEvent, await call.next() or b"")
        assert ended.record is not None
        assert (ended.type, ended.record.error) == (
            HistoryEventType.COMPLETE,
            Status(Code.CANCELLED, "context canceled"),
        )


async def test_results_come_to_the_client(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM scratch\nCOPY file sub /dst/\n")
    archive, directory, image = Receiving(), Receiving(directory=True), Receiving()
    async with buildx(engine.socket, files_of(context), receiving=archive) as client:
        assert await client.solve("r1", {}, Exporter("tar", {})) == {}
    with tarfile.open(fileobj=io.BytesIO(archive.archive)) as found:
        assert {"dst/file", "dst/inner"} <= set(found.getnames())
    async with buildx(engine.socket, files_of(context), receiving=directory) as client:
        await client.solve("r2", {}, Exporter("local", {}))
    assert list(directory.files) == ["dst", "dst/file", "dst/inner"]
    assert directory.files["dst/file"][1] == b"a file\n"
    assert directory.files["dst/inner"][1] == bytes(3_000_000)
    async with buildx(engine.socket, files_of(context), receiving=image) as client:
        response = await client.solve("r3", {}, Exporter("oci", {"name": "bk:oci"}))
    with tarfile.open(fileobj=io.BytesIO(image.archive)) as found:
        assert "index.json" in found.getnames()
    assert response["containerimage.config.digest"].startswith("sha256:")


async def test_a_client_that_goes_takes_its_build_with_it(engine: Engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN sleep 1000\n")
    async with buildx(engine.socket, files_of(context)) as client:
        building = asyncio.create_task(client.solve("r1", {}, IMAGE))
        await asyncio.to_thread(wait_for, lambda: engine.ok("ps", "-q"))
        building.cancel()
        await asyncio.wait([building])
        await asyncio.to_thread(wait_for, lambda: not engine.ok("ps", "-aq"))
        # The next build of the same client is none the worse for it.
        (context / "Dockerfile").write_text("FROM busybox\nRUN echo next\n")
        await client.solve("r2", {}, IMAGE)
        assert client.log == b"next\n"


@pytest.mark.parametrize(
    ("attributes", "frontend", "words"),
    [
        ({"build-arg:x": "y"}, "gateway.v0", "the build frontend gateway.v0 is not supported by Rundlet"),
        ({"source": "me/mine"}, "gateway.v0", "the build frontend me/mine is not supported by Rundlet"),
        ({"unheard-of": "1"}, "dockerfile.v0", "the frontend option unheard-of is not supported by Rundlet"),
        (
            {"frontend.caps": "moby.buildkit.frontend.x+forward"},
            "dockerfile.v0",
            "the frontend's capability moby.buildkit.frontend.x+forward is not supported by Rundlet",
        ),
        ({"shm-size": "-1"}, "dockerfile.v0", "failed to parse shm-size: -1"),
        ({"image-resolve-mode": "odd"}, "dockerfile.v0", "invalid image-resolve-mode: odd"),
    ],
)
async def test_what_is_refused(
    engine: Engine, context: Path, attributes: dict[str, str], frontend: str, words: str
) -> None:
    async with buildx(engine.socket, files_of(context)) as client:
        with pytest.raises(CallError, match=re.escape(words)):
            await client.solve("r1", attributes, IMAGE, frontend=frontend)


async def test_a_graph_of_the_client_s_own_is_refused(engine: Engine, context: Path) -> None:
    async with buildx(engine.socket, files_of(context)) as client:
        for operations in ((b"x",), ()):
            request = SolveRequest(ref="r1", definition=Definition(operations))
            with pytest.raises(CallError, match=r"\(LLB\) is not supported by Rundlet") as caught:
                await client.control.ask(f"{CONTROL}/Solve", encode(request))
            assert caught.value.code == Code.UNIMPLEMENTED
        with pytest.raises(CallError, match="the method /a/B is not supported by Rundlet"):
            await client.control.ask("/a/B", b"")
        with pytest.raises(CallError, match="a message ends in the middle of a field"):
            await client.control.ask(f"{CONTROL}/Solve", b"\x0a\x7f")


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "a//b", "."])
async def test_no_name_leads_out_of_the_context(engine: Engine, context: Path, name: str) -> None:
    files = files_of(context)
    files.listed = lambda stats: [*stats, FileStat(name, 0o644)] if len(stats) > 1 else stats
    async with buildx(engine.socket, files) as client:
        with pytest.raises(CallError, match="invalid path"):
            await client.solve("r1", {}, IMAGE)


async def test_links_in_a_context_lead_nowhere_outside(engine: Engine, context: Path, tmp_path: Path) -> None:
    """``escape`` is a link out of the context, and then a directory with a file in it."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    files = files_of(context)
    link = FileStat("escape", 1 << 27 | 0o777, link=str(outside))
    files.listed = lambda stats: [*stats, link, FileStat("escape/planted", 0o644)] if len(stats) > 1 else stats
    async with buildx(engine.socket, files) as client:
        try:
            await client.solve("r1", {}, IMAGE)
        except CallError:
            # Whether it is refused or lands inside is the unpacker's business, as of any archive.
            pass
    assert list(outside.iterdir()) == []


async def test_the_worker_and_its_cache(engine: Engine, context: Path) -> None:
    async with buildx(engine.socket, files_of(context)) as client:
        await client.solve("r1", {})
        [worker] = decode(WorkersResponse, await client.control.ask(f"{CONTROL}/ListWorkers", b"")).record
        assert worker.platforms[0].os == "linux"
        version = decode(InfoResponse, await client.control.ask(f"{CONTROL}/Info", encode(Empty()))).version
        assert version is not None
        assert version.version.startswith("v0.25.2+rundlet.")
        before = await _usage(client)
        assert before > 2
        async with client.control.call(f"{CONTROL}/Prune") as call:
            await call.send(encode(PruneRequest(all=True)))
            await call.end()
            pruned = 0
            while await call.next() is not None:
                pruned += 1
        # The context is no longer kept; the steps are the result's, which is an image.
        assert pruned >= 1
        assert await _usage(client) < before


async def _usage(client: Buildx) -> int:
    answer = await client.control.ask(f"{CONTROL}/DiskUsage", encode(UsageRequest()))
    return len(decode(UsageResponse, answer).record)


def test_nonsense_ends_its_connection_and_no_other(engine: Engine) -> None:
    pieces = (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(range(256)) * 8, b"")
    for number, data in enumerate(pieces):
        for target, headers in (("/grpc", {}), ("/session", {"X-Docker-Expose-Session-Uuid": f"bad{number}"})):
            with upgraded(engine.socket, target, headers) as sock, contextlib.suppress(ConnectionError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
    assert engine.ok("ps", "-q") == ""


# ── the client of Docker before buildx ───────────────────────────────────────────────────────────────────────


@pytest.fixture
def docker(engine: Engine) -> list[str]:
    """The command line that speaks the protocol by itself (Debian 12's)."""
    for program in docker_programs():
        done = engine.run_command([program, "--version"])
        if " 20.10." in done.stdout:
            return [program, "build", "--progress=plain"]
    lacking("docker 20.10 is not installed")
    raise AssertionError


def test_dockers_own_client(engine: Engine, docker: list[str], context: Path, tmp_path: Path) -> None:
    buildkit = {"DOCKER_BUILDKIT": "1"}
    flags = ["-t", "own:1", "-t", "own:2", "--build-arg", "who=docker", "--iidfile", str(tmp_path / "iid")]
    done = engine.run_command([*docker, *flags, str(context)], env=buildkit, timeout=90)
    assert done.returncode == 0, done.stderr
    assert "hello docker" in done.stderr
    assert "[internal] load build context" in done.stderr
    assert engine.ok("run", "--rm", "own:2") == "hello docker\na file"
    assert (tmp_path / "iid").read_text() == engine.ok("image", "inspect", "-f", "{{.Id}}", "own:1")
    again = engine.run_command([*docker, *flags, str(context)], env=buildkit, timeout=90)
    assert again.stderr.count("CACHED") == 2
    quiet = engine.run_command([*docker, "-q", *flags, str(context)], env=buildkit, timeout=90)
    assert quiet.stdout.strip() == (tmp_path / "iid").read_text()


def test_dockers_own_client_and_a_failing_step(engine: Engine, docker: list[str], context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN exit 7\n")
    done = engine.run_command([*docker, str(context)], env={"DOCKER_BUILDKIT": "1"}, timeout=90)
    assert done.returncode == 1
    assert 'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7' in done.stderr


def test_dockers_own_client_lends_and_takes(engine: Engine, docker: list[str], context: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim")
    (context / "Dockerfile").write_text(
        "FROM busybox AS a\nRUN --mount=type=secret,id=s wc -c < /run/secrets/s > /size\n"
        "FROM scratch\nCOPY --from=a /size /\n"
    )
    out = tmp_path / "out"
    done = engine.run_command(
        [*docker, "--secret", f"id=s,src={tmp_path / 'secret'}", "-o", str(out), str(context)],
        env={"DOCKER_BUILDKIT": "1"},
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.iterdir()} == {"size"}
    assert (out / "size").read_text() == "6\n"
