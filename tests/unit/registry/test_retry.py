"""When to try again."""

from rundlet.errors import NotFoundError
from rundlet.registry.errors import RateLimitError, RegistryError
from rundlet.registry.retry import Retry
from rundlet.transport import TransportError

CUT = TransportError("GET", "http://a/", "cut", "unexpected EOF")


def test_pauses_grow_and_end() -> None:
    retry = Retry(attempts=4, base=1, longest=3)
    pauses = [retry.pause(CUT, failures) for failures in (1, 2, 3)]
    for pause, expected in zip(pauses, (1, 2, 3), strict=True):
        assert pause is not None
        assert expected * 0.75 <= pause <= expected * 1.25
    assert retry.pause(CUT, 4) is None


def test_what_is_not_tried_again() -> None:
    retry = Retry()
    assert retry.pause(NotFoundError("x"), 1) is None
    assert retry.pause(RegistryError("DENIED", "no", 403), 1) is None
    assert retry.pause(TransportError("GET", "http://a/", "tls", "x"), 1) is None
    assert retry.pause(RegistryError("", "x", 503), 1) is not None


def test_rate_limits() -> None:
    retry = Retry(patience=30)
    assert retry.pause(RateLimitError("x", None, None, 12.0), 1) == 12.0
    assert retry.pause(RateLimitError("x", None, None, 31.0), 1) is None
    assert retry.pause(RateLimitError("x", "100;w=1", "0;w=1", None), 1) is None
    assert retry.pause(RateLimitError("x", None, None, None), 1) is not None
