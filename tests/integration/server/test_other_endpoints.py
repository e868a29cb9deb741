"""What there is not in Rundlet is answered as by a Docker engine outside of a swarm and without plugins."""

import pytest
from tests.integration.server.conftest import Server

MANAGER = "This node is not a swarm manager. "
OUTSIDE = "This node is not part of a swarm"

SWARM = """
GET /configs
POST /configs/create
GET /configs/x
DELETE /configs/x
POST /configs/x/update
GET /nodes
POST /nodes/create
GET /nodes/x
DELETE /nodes/x
POST /nodes/x/update
GET /secrets
POST /secrets/create
GET /secrets/x
DELETE /secrets/x
POST /secrets/x/update
GET /services
POST /services/create
GET /services/x
DELETE /services/x
POST /services/x/update
GET /services/x/logs
GET /swarm
POST /swarm/unlock
GET /swarm/unlockkey
POST /swarm/update
GET /tasks
POST /tasks/create
GET /tasks/x
DELETE /tasks/x
POST /tasks/x/update
GET /tasks/x/logs
"""


@pytest.mark.parametrize("endpoint", SWARM.strip().splitlines())
async def test_what_needs_a_swarm(server: Server, endpoint: str) -> None:
    method, path = endpoint.split()
    for version in ("", "/v1.24", "/v1.51"):
        answer = await server.request(method, version + path, {} if method == "POST" else None)
        assert answer.status == 503
        assert answer.message.startswith(MANAGER)


@pytest.mark.parametrize(
    ("endpoint", "status", "message"),
    [
        ("POST /swarm/init", 501, "swarm init is not supported by Rundlet"),
        ("POST /swarm/join", 501, "swarm join is not supported by Rundlet"),
        ("POST /swarm/leave", 503, OUTSIDE),
        ("POST /plugins/create", 501, "plugin create is not supported by Rundlet"),
        ("POST /plugins/pull", 501, "plugin pull is not supported by Rundlet"),
        ("GET /plugins/privileges", 501, "plugin privileges is not supported by Rundlet"),
        ("GET /plugins/x/json", 404, 'plugin "x" not found'),
        ("POST /plugins/x/enable", 404, 'plugin "x" not found'),
        ("POST /plugins/x/disable", 404, 'plugin "x" not found'),
        ("POST /plugins/x/push", 404, 'plugin "x" not found'),
        ("POST /plugins/x/set", 404, 'plugin "x" not found'),
        ("POST /plugins/x/upgrade", 404, 'plugin "x" not found'),
        ("DELETE /plugins/x", 404, 'plugin "x" not found'),
        ("GET /containers/x/checkpoints", 501, "checkpoint ls is not supported by Rundlet"),
        ("POST /containers/x/checkpoints", 501, "checkpoint create is not supported by Rundlet"),
        ("DELETE /containers/x/checkpoints/y", 501, "checkpoint rm is not supported by Rundlet"),
    ],
)
async def test_what_is_refused(server: Server, endpoint: str, status: int, message: str) -> None:
    method, path = endpoint.split()
    answer = await server.request(method, path, {} if method == "POST" else None)
    assert (answer.status, answer.message) == (status, message)


async def test_there_are_no_plugins(server: Server) -> None:
    answer = await server.request("GET", "/plugins")
    assert (answer.status, answer.json) == (200, [])
    for wrong, told in (('{"odd":["x"]}', "odd"), ('{"enabled":["x"]}', "enabled=[x]")):
        answer = await server.request("GET", f"/plugins?filters={wrong}")
        assert (answer.status, answer.message) == (400, f"invalid filter '{told}'")


async def test_lists_with_and_without_a_slash(server: Server) -> None:
    for path in ("/networks", "/networks/"):
        assert (await server.request("GET", path)).status == 200
    assert (await server.request("GET", "/volumes")).status == 200


async def test_a_build_that_is_not_there_is_cancelled(server: Server) -> None:
    assert (await server.request("POST", "/build/cancel?id=x")).status == 404
    assert (await server.request("POST", "/build/cancel")).message == "build ID not provided"
