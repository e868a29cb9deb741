"""What clients of older versions of the API get, over the wire."""

import json
from urllib.parse import quote

import aiohttp
import pytest
from tests.integration.server.conftest import Server


async def test_warnings_join_those_of_the_engine(server: Server) -> None:
    body = {"Image": "debian:12", "MacAddress": "02:42:ac:11:00:99"}
    answer = await server.request("POST", "/v1.44/containers/create?name=new", body)
    assert [text[:36] for text in answer.json["Warnings"]] == ["The container-wide MacAddress field "]
    answer = await server.request("POST", "/v1.43/containers/create?name=old", body)
    assert answer.json["Warnings"] == []


async def test_a_reading_at_once_is_younger_than_1_41(server: Server) -> None:
    await server.container("busy", "sleep")
    assert (await server.request("GET", "/v1.41/containers/busy/stats?one-shot=1")).status == 400
    assert (await server.request("GET", "/v1.40/containers/busy/stats?one-shot=1&stream=0")).status == 200
    connection = await server.connect()
    await connection.send("GET", "/v1.40/containers/busy/stats?one-shot=1")
    assert (await connection.head())[0] == 200
    assert json.loads(await connection.chunk())["name"] == "/busy"


async def test_a_websocket_has_all_streams_before_1_42(server: Server) -> None:
    await server.container("cat", "cat", start=False)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=server.path)) as session,
        session.ws_connect("http://engine/v1.41/containers/cat/attach/ws?stream=1") as connection,
    ):
        assert (await server.request("POST", "/containers/cat/start")).status == 204
        await connection.send_bytes(b"there and back")
        assert (await connection.receive(60)).data == b"there and back"


async def test_an_image_that_is_made_is_told_since_1_46(server: Server) -> None:
    query = "filters=" + quote(json.dumps({"type": ["image", "container"]}))
    for version, first in (("1.46", "create"), ("1.45", "tag")):
        connection = await server.connect()
        await connection.send("GET", f"/v{version}/events?{query}")
        await connection.head()
        assert json.loads(await connection.chunk())["Action"] == first
        await connection.close()
    await server.until(lambda: server.engine.system.subscribers == 0)


async def test_networks_are_listed_with_their_containers_before_1_28(server: Server) -> None:
    [old] = (await server.request("GET", "/v1.27/networks")).json
    [new] = (await server.request("GET", "/v1.28/networks")).json
    assert (list(old["Containers"]), new["Containers"]) == (["c1"], {})


@pytest.mark.parametrize(("text", "status"), [("true", 200), ("0", 200), ("", 200), ("maybe", 400), ("yes", 400)])
async def test_verbose_is_a_boolean(server: Server, text: str, status: int) -> None:
    answer = await server.request("GET", f"/networks/bridge?verbose={text}")
    assert answer.status == status
    if status == 400:
        wanted = f'invalid value for verbose: {text}: strconv.ParseBool: parsing "{text}": invalid syntax'
        assert answer.message == wanted


async def test_kinds_of_disk_use_since_1_42(server: Server) -> None:
    assert (await server.request("GET", "/v1.41/system/df?type=nonsense")).status == 200
    assert (await server.request("GET", "/v1.42/system/df?type=nonsense")).status == 400
    assert (await server.request("GET", "/v1.42/system/df?type=image")).status == 200
    assert server.engine.system.kinds == {"image"}


@pytest.mark.parametrize(
    ("method", "path", "since"),
    [
        ("GET", "/images/debian:12/json", "1.49"),
        ("GET", "/images/debian:12/history", "1.48"),
        ("GET", "/images/debian:12/get", "1.48"),
        ("POST", "/images/debian:12/push", "1.46"),
        ("POST", "/images/create?fromImage=debian", "1.32"),
        ("DELETE", "/images/debian:12", "1.50"),
    ],
)
async def test_platforms_that_older_engines_did_not_look_at(server: Server, method: str, path: str, since: str) -> None:
    major, minor = since.split(".")
    query = ("&" if "?" in path else "?") + "platform=" + quote("{not json")
    newer = await server.request(method, f"/v{since}{path}{query}")
    assert newer.status == 400
    assert newer.message.startswith("failed to parse platform")
    assert (await server.request(method, f"/v{major}.{int(minor) - 1}{path}{query}")).status == 200


async def test_a_colon_without_a_tag(server: Server) -> None:
    """As ``pull -a`` of old command lines sends it."""
    answer = await server.request("POST", "/images/create?fromImage=debian:&tag=13")
    assert json.loads(answer.body.split(b"\r\n")[0]) == {"status": "Pulling from debian", "id": "13"}
