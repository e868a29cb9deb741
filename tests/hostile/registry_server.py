"""A registry that lies as it is told to. Everything it was asked, with the credentials it was shown, is kept."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from rundlet.oci.reference import Reference

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    method: str
    path: str
    authorization: str | None
    range: str | None


@dataclass
class LyingRegistry:
    """``answers`` maps a path (after ``/v2/``) to a handler; ``/v2/`` itself says 200 unless it is overridden."""

    answers: dict[str, Handler] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    host: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(
            Asked(
                request.method,
                request.path_qs,
                request.headers.get("Authorization"),
                request.headers.get("Range"),
            )
        )
        path = request.path.removeprefix("/v2/")
        handler = self.answers.get(f"{request.method} {path}") or self.answers.get(path)
        if handler is not None:
            return await handler(request)
        if request.path == "/v2/":
            return web.json_response({})
        return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}, status=404)

    def name(self, text: str = "app:1") -> Reference:
        return Reference.parse(f"{self.host}/{text}")

    def authorizations(self) -> list[str]:
        return [asked.authorization for asked in self.asked if asked.authorization]


def says(body: bytes = b"", status: int = 200, **headers: str) -> Handler:
    """A fixed answer; header names have underscores for dashes."""
    fixed = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(status=404)
        return web.Response(body=body, status=status, headers=fixed)

    return handler
