"""Answers: JSON, nothing, and streams, with the headers that every answer of an engine carries."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from aiohttp import hdrs, web

import rundlet
from rundlet.api import codec, jsonstream
from rundlet.api.versions import MAXIMUM
from rundlet.server import bulk, errors
from rundlet.server.call import Call

T = TypeVar("T")
Fail = Callable[[Call, web.StreamResponse, str], Awaitable[None]]

log = logging.getLogger(__name__)

JSON: Final = "application/json"
RAW_STREAM: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED_STREAM: Final = "application/vnd.docker.multiplexed-stream"
TAR: Final = "application/x-tar"

HEADERS: Final = {
    "Api-Version": str(MAXIMUM),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Rundlet/{rundlet.__version__} (linux)",
}
"""On every answer. Clients negotiate their API version by the first; ``/_ping`` has its own word of the second."""

_JSON_HEADERS: Final = {**HEADERS, hdrs.CONTENT_TYPE: JSON}


def json(value: object, status: int = 200) -> web.Response:
    """``value`` as JSON, with the line feed that Docker's encoder adds."""
    return web.Response(body=codec.encode(value) + b"\n", status=status, headers=_JSON_HEADERS)


def empty(status: int = 204) -> web.Response:
    """No body."""
    return web.Response(status=status, headers=HEADERS)


def text(body: str, headers: dict[str, str] | None = None, status: int = 200) -> web.Response:
    """Plain text."""
    all_headers = {**HEADERS, hdrs.CONTENT_TYPE: "text/plain; charset=utf-8", **(headers or {})}
    return web.Response(body=body.encode(), status=status, headers=all_headers)


def failure(error: BaseException, *, plain: bool = False) -> web.Response:
    """``{"message": …}`` with the error's status, or the message alone if ``plain``.

    What was not foreseen is logged, and shown without its traceback.
    """
    status, message = errors.describe(error)
    if status == 304:
        return empty(304)
    return text(f"{message}\n", status=status) if plain else json({"message": message}, status)


def raw_failure(error: BaseException) -> web.Response:
    """The message as the stream that was asked for, as Docker answers ``attach``: old clients show it as output."""
    status, message = errors.describe(error)
    headers = {**HEADERS, hdrs.CONTENT_TYPE: RAW_STREAM}
    answer = web.Response(body=f"{message}\r\n".encode(), status=status, headers=headers)
    answer.force_close()
    return answer


async def open_stream(call: Call, content_type: str, headers: dict[str, str] | None = None) -> web.StreamResponse:
    """An answer whose length is not known; its headers are on the wire when this returns."""
    all_headers = {**HEADERS, hdrs.CONTENT_TYPE: content_type, **(headers or {})}
    answer = web.StreamResponse(headers=all_headers)
    await answer.prepare(call.request)
    return answer


async def bytes_stream(
    call: Call, chunks: AsyncIterator[bytes], content_type: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Pieces as they come. An error before the first is a plain failed answer; a later one cuts the connection, so
    that the client can't take the part for the whole."""
    first = await anext(chunks, None)
    answer = await open_stream(call, content_type, headers)
    bulk.widen(call.request.transport)
    return await _copy(call, answer, first, chunks, _cut)


async def follow_stream(call: Call, chunks: AsyncIterator[bytes], content_type: str) -> web.StreamResponse:
    """Pieces without an expected end (logs, statistics, events): the headers don't wait for the first."""
    answer = await open_stream(call, content_type)
    return await _copy(call, answer, None, chunks, _cut)


async def progress_stream(
    call: Call, messages: AsyncIterator[msgspec.Struct], *, refuse: bool = True
) -> web.StreamResponse:
    """Progress. An error is the last message; if ``refuse``, one before the first message is a plain failed answer.

    The answer begins with the first message: skopeo and buildah leave off sending an archive when they get an answer.
    """
    chunks = encoded(messages, jsonstream.encode)
    try:
        first = await anext(chunks, None)
    except Exception as exc:
        if refuse:
            raise
        first = jsonstream.encode(jsonstream.failure(errors.describe(exc).message))
    answer = await open_stream(call, JSON)
    return await _copy(call, answer, first, chunks, _tell)


async def _copy(
    call: Call, answer: web.StreamResponse, first: bytes | None, chunks: AsyncIterator[bytes], fail: Fail
) -> web.StreamResponse:
    try:
        chunk = first if first is not None else await anext(chunks, None)
        while chunk is not None:
            try:
                await answer.write(chunk)
            except ConnectionError:
                log.debug("client went away")
                break
            chunk = await anext(chunks, None)
    except Exception as exc:
        await fail(call, answer, errors.describe(exc).message)
    finally:
        await close(chunks)
    return answer


async def _tell(call: Call, answer: web.StreamResponse, message: str) -> None:
    await answer.write(jsonstream.encode(jsonstream.failure(message)))


async def _cut(call: Call, answer: web.StreamResponse, message: str) -> None:
    if call.request.transport is not None:
        call.request.transport.abort()


async def encoded(values: AsyncIterator[T], encode: Callable[[T], bytes] = codec.encode_line) -> AsyncIterator[bytes]:
    """Each value as one line of JSON."""
    try:
        async for value in values:
            yield encode(value)
    finally:
        await close(values)


async def close(iterator: AsyncIterator[object]) -> None:
    """End a backend's generator now, also when the client went away in the middle of it."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await asyncio.shield(aclose())
