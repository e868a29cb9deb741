"""``POST /build?version=2`` without a session: BuildKit's rules and progress for a context that comes with the request,
as clients without a session ask for it."""

import base64
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import msgspec

from rundlet.api import jsonstream
from rundlet.api.buildkit import StatusResponse
from rundlet.api.builds import BuildFailure, BuildOptions, BuildProgress, Output
from rundlet.api.jsonstream import JSONMessage
from rundlet.api.protobuf import encode
from rundlet.engine.buildkit import progress
from rundlet.engine.builds.service import BuildService
from rundlet.engine.builds.supplies import RequestSupply
from rundlet.transport import HttpClient

_TRACE: Final = "moby.buildkit.trace"
_IMAGE_ID: Final = "moby.image.id"


async def stream(
    builds: BuildService, http: HttpClient, options: BuildOptions, body: AsyncIterator[bytes]
) -> AsyncGenerator[JSONMessage, None]:
    """What the client is told. Raises InvalidParameterError, NotSupportedError; later failures are the last message."""
    outputs = tuple(msgspec.structs.replace(one, type="image") for one in options.outputs if one.type == "moby")
    settled = msgspec.structs.replace(
        options, rich=True, quiet=False, version="", outputs=outputs or options.outputs or (Output("image"),)
    )
    ref = secrets.token_hex(16)
    image = ""
    supply = RequestSupply(settled, body, builds.kept, http)
    async with aclosing(await builds.build_of(settled, supply)) as messages:
        async for message in messages:
            if isinstance(message, BuildProgress):
                yield _trace(progress.status(message, ref))
            elif isinstance(message, BuildFailure):
                yield jsonstream.failure(message.error)
                return
            elif message.error:
                yield message
                return
            elif isinstance(message.aux, dict):
                image = message.aux.get("ID", image)
    yield JSONMessage(id=_IMAGE_ID, aux={"ID": image})
    if options.quiet:
        yield jsonstream.stream(f"{image}\n")


def _trace(said: StatusResponse) -> JSONMessage:
    return JSONMessage(id=_TRACE, aux=base64.b64encode(encode(said)).decode())
