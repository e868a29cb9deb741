"""Who a registry is told that asks."""

import contextvars

import pytest

from rundlet.transport.agents import CLIENT, passed_on


@pytest.mark.parametrize(
    ("client", "told"),
    [
        ("", "engine/1"),
        ("Docker-Client/28.2.2 (linux)", "engine/1 UpstreamClient(Docker-Client/28.2.2 \\(linux\\))"),
        ("a\\b;c", "engine/1 UpstreamClient(a\\\\b\\;c)"),
        ("a\r\nX-Evil: 1\u00e9", "engine/1 UpstreamClient(aX-Evil: 1)"),
        ("a" * 1000, f"engine/1 UpstreamClient({'a' * 256})"),
    ],
)
def test_the_client_is_named_inside_the_engines_name(client: str, told: str) -> None:
    def asked() -> str:
        CLIENT.set(client)
        return passed_on("engine/1")

    assert contextvars.copy_context().run(asked) == told
