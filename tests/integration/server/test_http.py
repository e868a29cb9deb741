"""Requests and answers that are not hijacked."""

import asyncio
import base64
import json

import pytest
from tests.integration.server.conftest import Server

TOO_OLD = (
    "client version 1.10 is too old. Minimum supported API version is 1.24, "
    "please upgrade your client to a newer version"
)
BAD_NAME = "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
NO_BODY = "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"


async def test_ping(server: Server) -> None:
    for path in ("/_ping", "/v1.24/_ping", "/v1.51/_ping"):
        answer = await server.request("GET", path)
        assert (answer.status, answer.body) == (200, b"OK")
        assert answer.headers["api-version"] == "1.51"
        assert answer.headers["docker-experimental"] == "false"
        assert answer.headers["ostype"] == "linux"
        assert answer.headers["server"] == "Rundlet/0.1.0 (linux)"
        assert answer.headers["builder-version"] == "1"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"


async def test_head_ping(server: Server) -> None:
    connection = await server.connect()
    await connection.send("HEAD", "/_ping")
    status, headers = await connection.head()
    assert (status, headers["api-version"]) == (200, "1.51")
    await connection.send("GET", "/_ping")
    assert (await connection.answer()).body == b"OK"  # nothing was left of the first answer


async def test_one_connection_serves_many_requests(server: Server) -> None:
    connection = await server.connect()
    for _ in range(3):
        await connection.send("GET", "/version")
        answer = await connection.answer()
        assert answer.json["ApiVersion"] == "1.51"
        assert answer.body.endswith(b"}\n")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1.99/_ping", 400, "client version 1.99 is too new. Maximum supported API version is 1.51"),
        ("/nonsense", 404, "page not found"),
        ("/v1.41/containers", 404, "page not found"),
        ("/v1.99/nonsense", 404, "page not found"),
        ("/containers/nope/json", 404, "No such container: nope"),
        ("/images/a/b:c/json", 404, "No such image: a/b:c"),
        ("/networks/nope", 404, "network nope not found"),
        ("/volumes/nope", 404, "get nope: no such volume"),
        ("/containers/nope/logs?stdout=1", 404, "No such container: nope"),
        ("/containers/x/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("/containers/x/logs?stdout=1&since=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("/containers/x/stats?stream=1&one-shot=1", 400, "cannot have stream=true and one-shot=true"),
        ("/containers/x/archive", 400, "bad parameter: path cannot be empty"),
        ('/containers/json?filters={"bogus":["a"]}', 400, "invalid filter 'bogus'"),
        ("/system/df?type=bogus", 400, "unknown object type: bogus"),
        ("/events?since=10&until=5", 400, "`since` time (10) cannot be after `until` time (5)"),
        ("/images/search?term=x&limit=500", 400, "limit 500 is outside the range of [1, 100]"),
        ("/distribution/a/b/json", 401, "no basic auth credentials for a/b"),
        ("/plugins/x/json", 404, 'plugin "x" not found'),
    ],
)  # fmt: skip
async def test_failed_gets(server: Server, path: str, status: int, message: str) -> None:
    answer = await server.request("GET", path)
    assert (answer.status, answer.message) == (status, message)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["api-version"] == "1.51"


async def test_errors_for_clients_that_know_no_others_are_text(server: Server) -> None:
    """skopeo and buildah of Debian 12 show an error's body as it is."""
    answer = await server.request("GET", "/v1.10/info")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert answer.body == f"{TOO_OLD}\n".encode()


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/containers/create", b"{bad", 400, "invalid JSON: invalid character 'b' looking for beginning of object key"),
        ("/containers/create", b"{} more", 400, "unexpected content after JSON"),
        ("/containers/create", b"", 400, "invalid JSON: got EOF while reading request body"),
        ("/containers/create", {}, 400, "config cannot be empty in order to create a container"),
        ("/containers/create", {"HostConfig": {"Memory": 1}}, 400, "config cannot be empty"),
        ("/containers/create?name=a%20b", {"Image": "x"}, 400, BAD_NAME),
        ("/containers/create?name=/-x", {"Image": "x"}, 400, "Invalid container name (-x), only"),
        ("/containers/create", {"Image": "absent"}, 404, "No such image: absent:latest"),
        ("/containers/nope/start", None, 404, "No such container: nope"),
        ("/containers/nope/wait", None, 404, "No such container: nope"),
        ("/containers/nope/wait?condition=bogus", None, 400, 'invalid condition: "bogus"'),
        ("/containers/nope/start", {"Image": "x"}, 400, NO_BODY),
        ("/containers/nope/resize?h=x&w=1", None, 400, 'invalid resize height "x"'),
        ("/containers/nope/resize", None, 400, 'invalid resize height "": invalid syntax'),
        ("/containers/nope/resize?h=-1&w=1", None, 400, 'invalid resize height "-1": value out of range'),
        ("/exec/nope/resize?h=1&w=4294967296", None, 400, 'invalid resize width "4294967296": value out of range'),
        ("/containers/nope/stop?t=x", None, 400, 'invalid t: "x" is not a number'),
        ("/containers/nope/rename?name=a%20b", None, 404, "No such container: nope"),
        ("/containers/nope/exec", {}, 400, "No exec command specified"),
        ("/containers/nope/exec", {"Cmd": ["a"]}, 404, "No such container: nope"),
        ("/containers/nope/exec", {"Cmd": ["a"], "DetachKeys": "odd"}, 400, "Invalid detach keys (odd) provided"),
        ("/exec/nope/start", {}, 404, "No such exec instance: nope"),
        ("/images/create", None, 400, "one of fromImage and fromSrc is required"),
        ("/images/create?fromImage=denied", None, 401, "pull access denied for denied"),
        ("/auth", {"password": "wrong"}, 401, "unauthorized: incorrect username or password"),
        ("/build?buildargs=x", None, 400, "error reading buildargs"),
        ("/session", None, 400, "no upgrade proto in request"),
        ("/swarm/init", {}, 501, "swarm init is not supported by Rundlet"),
        ("/swarm/leave", None, 503, "This node is not part of a swarm"),
        ("/services/create", {}, 503, 'This node is not a swarm manager. Use "docker swarm init"'),
    ],
)  # fmt: skip
async def test_failed_posts(server: Server, path: str, body: object, status: int, message: str) -> None:
    answer = await server.request("POST", path, body)
    assert answer.status == status
    assert answer.message.startswith(message)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [("", 404, b"No such container: nope"), ("?detachKeys=bogus", 400, b"Invalid detach keys (bogus) provided")],
)
async def test_a_refused_attach_is_told_as_output(server: Server, query: str, status: int, message: bytes) -> None:
    """As Docker does: who takes the answer for the stream prints it."""
    answer = await server.request("POST", f"/containers/nope/attach{query}")
    assert (answer.status, answer.body) == (status, message + b"\r\n")
    assert answer.headers["content-type"] == "application/vnd.docker.raw-stream"


@pytest.mark.parametrize("noun", ["services", "tasks", "nodes", "secrets", "configs", "swarm"])
async def test_not_a_swarm(server: Server, noun: str) -> None:
    answer = await server.request("GET", f"/v1.41/{noun}")
    assert (answer.status, answer.message) == (
        503,
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to '
        "swarm and try again.",
    )


async def test_a_body_must_be_json_by_its_type(server: Server) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await server.request("POST", "/containers/create", b'{"Image": "x"}', form)
    assert (answer.status, answer.message) == (
        400,
        "unsupported Content-Type header (application/x-www-form-urlencoded): must be 'application/json'",
    )
    charset = {"Content-Type": "application/json; charset=utf-8"}
    assert (await server.request("POST", "/containers/create", b'{"Image": "x"}', charset)).status == 201


async def test_an_unforeseen_error_shows_no_traceback(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise RuntimeError("secret place")

    monkeypatch.setattr(server.engine.system, "info", broken)
    answer = await server.request("GET", "/info")
    assert (answer.status, answer.message) == (500, "internal error: RuntimeError: secret place")


async def test_a_container_s_life(server: Server) -> None:
    await server.container("life", "sleep", start=False, HostConfig={"Memory": 4096})
    assert (await server.request("POST", "/containers/life/start")).status == 204
    again = await server.request("POST", "/containers/life/start")
    assert (again.status, again.body) == (304, b"")
    inspected = (await server.request("GET", "/containers/life/json?size=1")).json
    assert inspected["State"]["Running"] is True
    assert inspected["HostConfig"]["Memory"] == 4096
    assert inspected["SizeRw"] == 0
    (listed,) = (await server.request("GET", "/containers/json")).json
    assert listed["Names"] == ["/life"]
    assert listed["Ports"] == [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
    assert (await server.request("GET", "/containers/life/top")).json["Titles"] == ["PID", "CMD"]
    assert (await server.request("GET", "/containers/life/changes")).json[1] == {"Path": "/new", "Kind": 1}
    assert (await server.request("POST", "/containers/life/update", {"Memory": 9})).json == {"Warnings": ["memory 9"]}
    assert (await server.request("POST", "/containers/life/resize?h=24&w=80")).status == 200
    assert (await server.request("POST", "/containers/life/rename?name=other")).status == 204
    assert (await server.request("DELETE", "/containers/other")).status == 409
    assert (await server.request("POST", "/containers/other/stop?t=1")).status == 204
    assert (await server.request("POST", "/containers/other/stop")).status == 304
    assert (await server.request("POST", "/commit?container=other&repo=r")).json["Id"].startswith("sha256:")
    assert (await server.request("DELETE", "/containers/other?v=1&force=0")).status == 204
    assert (await server.request("GET", "/containers/json?all=1")).json == []


@pytest.mark.parametrize(
    ("value", "shown"), [("1", 1), ("true", 1), ("x", 1), ("0", 0), ("no", 0), ("None", 0), ("", 0)]
)
async def test_booleans(server: Server, value: str, shown: int) -> None:
    await server.container("made", "sleep", start=False)
    assert len((await server.request("GET", f"/containers/json?all={value}")).json) == shown


async def test_older_clients_see_older_answers(server: Server) -> None:
    new = (await server.request("GET", "/v1.51/images/json")).json
    old = (await server.request("GET", "/v1.41/images/json")).json
    assert "VirtualSize" not in new[0]
    assert old[0]["VirtualSize"] == 123


async def test_wait_answers_its_headers_at_once(server: Server) -> None:
    await server.container("waited", "exit", "7", start=False)
    connection = await server.connect()
    await connection.send("POST", "/containers/waited/wait?condition=next-exit")
    status, headers = await connection.head()
    assert (status, headers["content-type"]) == (200, "application/json")
    assert (await server.request("POST", "/containers/waited/start")).status == 204
    assert json.loads(await connection.chunk()) == {"StatusCode": 7}
    assert await connection.chunk() == b""


async def test_wait_for_the_removal(server: Server) -> None:
    await server.container("gone", "sleep")
    connection = await server.connect()
    await connection.send("POST", "/containers/gone/wait?condition=removed")
    await connection.head()
    assert (await server.request("DELETE", "/containers/gone?force=1")).status == 204
    assert json.loads(await connection.chunk())["StatusCode"] in (0, 137)


async def test_wait_before_1_30_answers_at_the_end(server: Server) -> None:
    await server.container("old", "exit", "3")
    answer = await server.request("POST", "/v1.24/containers/old/wait")
    assert (answer.json, "content-length" in answer.headers) == ({"StatusCode": 3}, True)


@pytest.mark.parametrize(
    ("version", "tty", "content_type"),
    [("1.41", False, "raw"), ("1.42", False, "multiplexed"), ("1.51", True, "raw")],
)
async def test_logs(server: Server, version: str, tty: bool, content_type: str) -> None:
    await server.container("said", "echo", "hello", tty=tty)
    answer = await server.request("GET", f"/v{version}/containers/said/logs?stdout=1&stderr=1&follow=1")
    assert answer.headers["content-type"] == f"application/vnd.docker.{content_type}-stream"
    assert answer.body == (b"hello\n" if tty else b"\x01\0\0\0\0\0\0\x06hello\n")


async def test_a_follower_that_leaves_is_noticed(server: Server) -> None:
    await server.container("quiet", "sleep")
    for path in ("logs?stdout=1&follow=1", "stats"):
        connection = await server.connect()
        await connection.send("GET", f"/containers/quiet/{path}")
        await connection.head()
        await server.until(lambda: server.engine.containers.followers == 1)
        await connection.close()
        await server.until(lambda: server.engine.containers.followers == 0)


async def test_a_change_is_finished_when_its_client_leaves(server: Server) -> None:
    await server.container("left", "sleep")
    container = server.engine.containers.find("left")
    container.stop = asyncio.Event()  # a stop that the command does not see
    connection = await server.connect()
    await connection.send("POST", "/containers/left/stop")
    await server.until(lambda: server.api._dispatcher._unfinished)
    await connection.close()
    await asyncio.sleep(0.05)
    assert server.api._dispatcher._unfinished
    container.ended.set()
    await server.until(lambda: not server.api._dispatcher._unfinished)


async def test_stats(server: Server) -> None:
    await server.container("busy", "sleep")
    once = await server.request("GET", "/containers/busy/stats?stream=0")
    assert once.json["name"] == "/busy"
    assert once.json["cpu_stats"]["throttling_data"] == {"periods": 0, "throttled_periods": 0, "throttled_time": 0}
    connection = await server.connect()
    await connection.send("GET", "/containers/busy/stats")
    await connection.head()
    for _ in range(2):
        assert json.loads(await connection.chunk())["name"] == "/busy"


async def test_events(server: Server) -> None:
    connection = await server.connect()
    await connection.send("GET", "/events")
    await connection.head()
    for second in (1, 2):
        event = json.loads(await connection.chunk())
        assert (event["time"], event["Actor"]["Attributes"]["name"]) == (second, "x")
    await connection.close()
    await server.until(lambda: server.engine.system.subscribers == 0)


async def test_pull(server: Server) -> None:
    credentials = {"username": "me", "password": "p", "serveraddress": "r"}
    header = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()}
    answer = await server.request("POST", "/images/create?fromImage=debian&tag=12&platform=linux/arm64", None, header)
    lines = answer.body.split(b"\r\n")
    assert json.loads(lines[0]) == {"status": "Pulling from debian", "id": "12"}
    assert json.loads(lines[1])["progressDetail"] == {"current": 500, "total": 1000}
    assert lines[-1] == b""
    assert server.engine.images.auth.username == "me"
    assert server.engine.images.platform == "linux/arm64"
    assert "p" not in repr(server.engine.images.auth).replace("serveraddress", "")


async def test_unreadable_credentials_are_none(server: Server) -> None:
    answer = await server.request("POST", "/images/create?fromImage=a&tag=1", None, {"X-Registry-Auth": "%%%"})
    assert answer.status == 200
    assert server.engine.images.auth.username == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("halfway", "unexpected EOF"),
        ("refused", "internal error: ConnectionRefusedError: [Errno 111] Connection refused"),
    ],
)
async def test_a_pull_that_fails_halfway(server: Server, name: str, message: str) -> None:
    answer = await server.request("POST", f"/images/create?fromImage={name}&tag=1")
    last = json.loads(answer.body.strip().split(b"\r\n")[-1])
    assert answer.status == 200
    assert last == {"errorDetail": {"message": message}, "error": message}


async def test_import_takes_a_large_chunked_body(server: Server) -> None:
    connection = await server.connect()
    await connection.send(
        "POST", "/images/create?fromSrc=-&repo=big", b"", {"Transfer-Encoding": "chunked", "Expect": "100-continue"}
    )
    assert await connection.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    piece = b"x" * 1_000_000
    for _ in range(20):
        connection.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await connection.writer.drain()
    connection.writer.write(b"0\r\n\r\n")
    answer = await connection.answer()
    assert answer.status == 200
    assert len(server.engine.images.imported) == 20_000_000


async def test_archives(server: Server) -> None:
    await server.container("files", "sleep")
    tar = {"Content-Type": "application/x-tar"}
    assert (await server.request("PUT", "/containers/files/archive?path=/", b"TAR", tar)).status == 200
    answer = await server.request("GET", "/containers/files/archive?path=/etc/hosts")
    assert (answer.body, answer.headers["content-type"]) == (b"TAR", "application/x-tar")
    head = await server.request("HEAD", "/containers/files/archive?path=/etc/hosts")
    for found in (answer, head):
        assert json.loads(base64.b64decode(found.headers["x-docker-container-path-stat"])) == {
            "name": "hosts",
            "size": 3,
            "mode": 0o644,
            "mtime": "2026-01-02T03:04:05Z",
            "linkTarget": "",
        }
    assert (await server.request("GET", "/containers/files/archive?path=/absent")).status == 404
    assert (await server.request("GET", "/containers/files/export")).body == b"TAR"


async def test_an_archive_that_breaks_is_not_taken_for_whole(server: Server) -> None:
    await server.container("torn", "sleep")
    server.engine.containers.find("torn").archive = b"part"
    connection = await server.connect()
    await connection.send("GET", "/containers/torn/archive?path=/broken")
    status, _ = await connection.head()
    rest = await connection.rest()
    assert status == 200
    assert not rest.endswith(b"0\r\n\r\n")


async def test_images(server: Server) -> None:
    config = (await server.request("GET", "/images/debian:12/json")).json["Config"]
    assert {name: value for name, value in config.items() if value} == {"Cmd": ["bash"], "Env": ["PATH=/bin"]}
    assert (await server.request("GET", "/images/debian:12/history")).json[0]["CreatedBy"] == "import"
    assert (await server.request("POST", "/images/debian:12/tag?repo=r:5000/x&tag=1")).status == 201
    assert (await server.request("DELETE", "/images/r:5000/x:1")).json == [{"Untagged": "r:5000/x:1"}]
    assert (await server.request("GET", "/images/get?names=a&names=b")).body == b"a b"
    assert (await server.request("GET", "/images/a/b/get")).body == b"a/b"
    loaded = await server.request("POST", "/images/load", b"TAR", {"Content-Type": "application/x-tar"})
    assert loaded.json == {"stream": "Loaded image: debian:12\n"}
    assert (await server.request("GET", "/images/search?term=t")).json[0]["name"] == "t"
    pushed = await server.request("POST", "/images/r:5000/x/push?tag=1")
    assert pushed.json == {"status": "The push refers to repository [r:5000/x]"}


async def test_networks_and_volumes(server: Server) -> None:
    created = await server.request("POST", "/networks/create", {"Name": "net", "Driver": "bridge"})
    assert created.status == 201
    assert (await server.request("GET", "/networks/net")).json["Id"] == created.json["Id"]
    assert (await server.request("POST", "/networks/net/connect", {"Container": "c"})).status == 200
    assert (await server.request("POST", "/networks/net/disconnect", {"Container": "c"})).status == 200
    for empty in (None, b"null"):
        assert (await server.request("POST", "/networks/net/connect", empty)).status == 200
        assert (await server.request("POST", "/networks/net/disconnect", empty)).status == 200
    assert (await server.request("DELETE", "/networks/net")).status == 204
    assert (await server.request("POST", "/volumes/create", {"Name": "v"})).json["Driver"] == "local"
    assert len((await server.request("POST", "/volumes/create")).json["Name"]) == 64
    assert (await server.request("DELETE", "/volumes/v")).status == 204
    await server.request("POST", "/v1.41/volumes/prune")
    assert server.engine.volumes.pruned.get("all") == ("true",)
    await server.request("POST", "/v1.42/volumes/prune")
    assert "all" not in server.engine.volumes.pruned


async def test_garbage_does_not_hurt(server: Server) -> None:
    for garbage in (b"\0\1\2\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"):
        connection = await server.connect()
        connection.writer.write(garbage)
        connection.writer.write_eof()
        await connection.rest()
    assert (await server.request("GET", "/_ping")).status == 200


async def test_long_query(server: Server) -> None:
    names = json.dumps({"name": ["x" * 60] * 2000})
    assert (await server.request("GET", f"/containers/json?filters={names.replace(' ', '')}")).json == []


async def test_options_of_any_path(server: Server) -> None:
    for path in ("/", "/v1.51/containers/json", "/no/such/path"):
        assert (await server.request("OPTIONS", path)).status == 200
