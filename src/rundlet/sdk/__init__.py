"""Rundlet from Python: containers, images, networks and volumes without a shell and without an HTTP library.

>>> import rundlet
>>> with rundlet.connect() as engine:
...     print(engine.run("busybox", "echo", "hello").text)
hello

The same names with ``async with`` and ``await``:

>>> import asyncio
>>> async def main() -> None:
...     async with rundlet.connect() as engine:
...         async with engine.container("busybox", "cat", stdin=True) as box:
...             print((await box.exec("echo", "inside")).text)
>>> asyncio.run(main())
inside

An engine is found as the command line finds it (``RUNDLET_HOST``, ``DOCKER_HOST``, the context in use, the user's own,
which is started when it does not run). Whatever goes wrong is an :class:`~rundlet.sdk.errors.EngineError`.
"""
