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
            raise OSError(28, "No space left on device")
        except OSError as exc:
            status, message = errors.describe(exc)
    assert (status, message) == (500, "internal error: OSError: [Errno 28] No space left on device")
    assert "Traceback" in caplog.text
