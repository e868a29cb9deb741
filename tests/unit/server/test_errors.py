"""Errors to HTTP."""

import json
import logging

import pytest

from rundlet.errors import ConflictError, NotModifiedError, NotSupportedError
from rundlet.server import answers, errors


def test_our_errors_carry_their_status() -> None:
    assert errors.describe(ConflictError("in use")) == (409, "in use")
    answer = answers.failure(NotSupportedError("--gpus"))
    assert answer.status == 501
    assert isinstance(answer.body, bytes)
    assert json.loads(answer.body) == {"message": "--gpus is not supported by Rundlet"}
    assert answer.headers["Api-Version"] == "1.51"


def test_not_modified_has_no_body() -> None:
    assert answers.failure(NotModifiedError("already started")).body is None


def test_the_unforeseen_is_logged_with_its_traceback_and_shown_without(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        try:
            raise OSError(9, "Bad file descriptor")
        except OSError as exc:
            status, message = errors.describe(exc)
    assert (status, message) == (500, "internal error: OSError: [Errno 9] Bad file descriptor")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "no space left on device"),
        (OSError(30, "Read-only file system", "/data/exit"), "/data/exit: read-only file system"),
        (OSError(30, "Read-only file system", b"/data/\xff"), "/data/\ufffd: read-only file system"),
        (OSError(30, "Read-only file system", "/data/\udcff"), "/data/\ufffd: read-only file system"),
        (OSError(24, "Too many open files", 7), "too many open files"),
    ],
)
def test_what_the_machine_lacks_is_a_sentence(error: OSError, message: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert errors.describe(error) == (500, message)
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is None
