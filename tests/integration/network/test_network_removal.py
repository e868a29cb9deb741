"""A network that is being removed: nobody finds it, others are served meanwhile, and nothing new gets what it has."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.integration.network.lab import Lab, on_a_machine

from rundlet.api.networks import IPAM, IPAMConfig, NetworkCreate
from rundlet.engine.containers.connections import Connector
from rundlet.engine.context import Context
from rundlet.engine.networks import NetworkRouterService
from rundlet.network.creation import Request
from rundlet.network.errors import FirewallError, NetworkNotFoundError
from rundlet.network.networks import Network
from rundlet.network.service import NetworkService

_SUBNET = IPAM(config=(IPAMConfig(subnet="10.9.0.0/24"),))


class _Removal:
    """Stands between the router's service and the kernel: the links go when :attr:`go` is set."""

    def __init__(self, service: NetworkService) -> None:
        self.service = service
        self.begun = threading.Event()
        self.go = threading.Event()
        self.failure: Exception | None = None
        self._remove = service.remove_links
        service.remove_links = self._slowly  # type: ignore[method-assign]
        self.events: list[str] = []
        context = SimpleNamespace(network=service, events=self)
        self.router = NetworkRouterService(cast(Context, context), cast(Connector, None))

    def publish(self, _kind: str, action: str, _identifier: str, attributes: dict[str, Any]) -> None:
        self.events.append(f"{action} {attributes['name']}")

    def _slowly(self, network: Network) -> None:
        self.begun.set()
        assert self.go.wait(30)
        if self.failure is not None:
            raise self.failure
        self._remove(network)


@on_a_machine
def test_others_are_served_while_a_network_goes(lab: Lab) -> None:
    removal = _Removal(lab.service())

    async def main() -> None:
        router, service = removal.router, removal.service
        await router.create(NetworkCreate(name="old", ipam=_SUBNET))
        bridge = service.network("old").bridge
        going = asyncio.ensure_future(router.remove("old"))
        await asyncio.to_thread(removal.begun.wait, 30)
        with pytest.raises(NetworkNotFoundError):
            service.network("old")
        with pytest.raises(NetworkNotFoundError):
            service.allocate("c1", "one", "old")
        again = asyncio.ensure_future(router.create(NetworkCreate(name="old", ipam=_SUBNET)))
        await asyncio.sleep(0)
        assert not again.done(), "its address is still on the old one's bridge"
        removal.go.set()
        await going
        made = await again
        assert service.network("old").id == made.id
        assert lab.rtnl.link(bridge) is None
        assert removal.events == ["create old", "destroy old", "create old"]

    asyncio.run(main())


@on_a_machine
def test_a_network_that_cannot_go_is_there_again(lab: Lab) -> None:
    removal = _Removal(lab.service())
    removal.failure = FirewallError(OSError(16, "busy"))
    removal.go.set()

    async def main() -> None:
        await removal.router.create(NetworkCreate(name="old"))
        with pytest.raises(FirewallError):
            await removal.router.remove("old")
        assert removal.service.network("old").name == "old"
        removal.failure = None
        await removal.router.remove("old")
        assert removal.events == ["create old", "destroy old"]

    asyncio.run(main())


@on_a_machine
def test_an_engine_killed_while_a_network_goes_leaves_it_to_the_next(lab: Lab) -> None:
    service = lab.service()
    made = service.create(Request("old"))
    service.leave("old")
    service.remove_links(made)
    service.close()
    after = lab.service()
    assert after.network("old").id == made.id
    assert lab.rtnl.link(made.bridge) is not None
    after.remove("old")
    assert lab.rtnl.link(made.bridge) is None
    after.close()
