"""A pytest plugin: the fixtures ``rundlet_engine`` and ``container``. Registered when Rundlet is installed.

>>> def test_server(container: StartContainer) -> None:  # doctest: +SKIP
...     web = container("nginx", ports={80: None})
...     address, port = web.port(80)

Containers run until the test ends, and are removed then, whatever the test did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol, Unpack

import pytest

from rundlet.sdk.container import Container
from rundlet.sdk.engine import Engine
from rundlet.sdk.options import ContainerOptions


class StartContainer(Protocol):
    """What the fixture ``container`` is, for annotations."""

    def __call__(self, image: str, *command: str, **options: Unpack[ContainerOptions]) -> Container: ...


@pytest.fixture(scope="session")
def rundlet_engine() -> Iterator[Engine]:
    """The engine that the environment chooses; started when it is the user's own and does not run."""
    with Engine() as engine:
        yield engine


@pytest.fixture
def container(rundlet_engine: Engine) -> Iterator[StartContainer]:
    """``container(image, *command, **options)``: a running one; see :meth:`rundlet.sdk.engine.Engine.container`."""
    with ExitStack() as stack:

        def start(image: str, *command: str, **options: Unpack[ContainerOptions]) -> Container:
            return stack.enter_context(rundlet_engine.container(image, *command, **options))

        yield start
