"""What the engine's log looks like."""

import asyncio
import errno
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from rundlet.daemon import service

FORGED = 'network a\ntime="2000-01-01T00:00:00Z" level=info msg="all is well" can\'t be made'


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The logger whose handlers and level are there again afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_names_that_clients_make_up_are_no_lines_of_the_log(
    kind: str, root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    service.set_up_logging("info", kind)
    root.handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]
    root.warning("%s", FORGED)
    (line,) = capsys.readouterr().err.splitlines()
    if kind == "json":
        assert json.loads(line)["msg"] == FORGED
    else:
        assert line.startswith('time="20')
        assert line.partition(" level=warning msg=")[2] == json.dumps(FORGED)


def test_a_machine_without_descriptors_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        service.on_failure(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
        service.on_failure(loop, {"message": "something else", "exception": ValueError("broken")})
    assert [record.getMessage() for record in caplog.records] == [
        "[Errno 24] Too many open files: new clients have to wait",
        "something else",
    ]
    assert caplog.records[0].exc_info is None
