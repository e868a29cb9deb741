"""macvlan and ipvlan interfaces: under which names the kernel is asked for them."""

from collections.abc import Sequence

import pytest

from rundlet.linux import nlmsg, uppers
from rundlet.linux.nlmsg import Request

_IFINFO = 16  # bytes before the attributes
_IFLA_IFNAME = 3


class Asked:
    """A netlink socket that keeps what it is asked."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.names: list[str] = []
        self.deleted: list[str] = []
        self._refuse = refuse

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_: object) -> None: ...

    def index(self, _name: str) -> int:
        return 7

    def execute(self, requests: Sequence[Request]) -> None:
        if self._refuse:
            raise FileExistsError(17, "file exists")
        found = nlmsg.attributes(requests[0].body, _IFINFO)
        self.names.append(nlmsg.decode_text(found[_IFLA_IFNAME]))

    def delete_link(self, name: str, *, missing_ok: bool) -> None:
        assert missing_ok
        self.deleted.append(name)


@pytest.mark.parametrize("kind", ["macvlan", "ipvlan"])
def test_the_machine_may_have_an_interface_of_that_name(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels before 6.13 take the new name for one of the machine's."""
    host, inside = Asked(), Asked()
    monkeypatch.setattr(uppers, "Netlink", lambda _namespace: inside)
    uppers.create(host, kind, "eth0", "lan0", 9, mac="02:42:00:00:00:01", mtu=1400)  # type: ignore[arg-type]
    assert host.names != ["eth0"] and len(host.names[0]) <= 15
    assert inside.names == ["eth0"]


def test_what_cannot_have_its_name_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    host, inside = Asked(), Asked(refuse=True)
    monkeypatch.setattr(uppers, "Netlink", lambda _namespace: inside)
    with pytest.raises(FileExistsError):
        uppers.create(host, "macvlan", "eth0", "lan0", 9)  # type: ignore[arg-type]
    assert inside.deleted == host.names
