"""``DOCKER_BUILDKIT=0``: a build by the rules of Docker's classic builder, with its flags and its text."""

from __future__ import annotations

import os
import sys

from rundlet.cli.building import query as wire
from rundlet.cli.building.build import compressed, lend, packed
from rundlet.cli.building.sources import open_source
from rundlet.cli.building.upload import Upload
from rundlet.cli.exit import CommandError, UsageError
from rundlet.cli.progress import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

    from rundlet.cli.context import Context
    from rundlet.client.http import Response

_DEPRECATED = """\
DEPRECATED: The legacy builder is deprecated and will be removed in a future release.
            BuildKit is currently disabled; enable it by removing the DOCKER_BUILDKIT=0
            environment-variable.

"""
_NEWER = (
    "allow annotation attest build-context cache-to call check load metadata-file no-cache-filter output progress "
    "provenance push sbom secret ssh"
).split()
_PREFIX = "ERROR: failed to build: "


def wanted() -> bool:
    """Whether the environment asks for the classic builder. Raises CommandError."""
    text = os.environ.get("DOCKER_BUILDKIT", "")
    if text in ("", "1", "t", "T", "TRUE", "true", "True"):
        return False
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return True
    reason = f'strconv.ParseBool: parsing "{text}": invalid syntax'
    raise CommandError(f"DOCKER_BUILDKIT environment variable expects boolean value: {reason}")


def build(context: Context, flags: dict[str, Any], path: str, *, signed_only: bool = False) -> int:
    """Run one build; the exit code. ``signed_only``: with content trust. Raises CommandError, ApiError."""
    given: dict[str, str] = flags.given  # type: ignore[attr-defined]
    for name in _NEWER:
        if name in given:
            command = f"{context.program} build"
            usage = f"Usage:  {command} [OPTIONS] PATH | URL | -\n\nRun '{command} --help' for more information"
            raise UsageError(f"unknown flag: --{name}\n\n{usage}", 125)
    sys.stderr.write(_DEPRECATED)
    sys.stderr.flush()
    if flags["iidfile"]:
        # What is there would be taken for this build's.
        _remove(flags["iidfile"])
    try:
        query = wire.build_query(context, flags, [])
        source = open_source(path, flags["file"])
    except CommandError as exc:
        raise CommandError(_complaint(exc.message.removeprefix(_PREFIX), path, flags["file"]), exc.code) from exc
    told, body = packed(context, source)
    if flags["compress"] and body is not None:
        body = compressed(body)
    lent = lend(context, flags, source if signed_only else None)
    sending = _Sending(sys.stdout, quiet=flags["quiet"])
    upload = Upload(
        context.session,
        "/build",
        {**query, **source.query, **told, **lent},
        wire.registry_config(context),
        sending.report,
    )
    answer = upload.start(body)
    try:
        response = answer()
    finally:
        sending.end()
    image = _follow(response, upload, quiet=flags["quiet"])
    if flags["iidfile"]:
        if not image:
            raise CommandError(f"Server did not provide an image ID. Cannot write {flags['iidfile']}")
        try:
            with open(flags["iidfile"], "w", encoding="utf-8") as file:
                file.write(image)
        except OSError as exc:
            raise CommandError(f"open {flags['iidfile']}: {(exc.strerror or '').lower()}") from exc
    return 0


def _complaint(message: str, path: str, file: str) -> str:
    """``message`` of a Dockerfile that can't be read, as it is told of before the classic builder is asked."""
    _, unread, reason = message.partition("failed to read dockerfile: open ")
    if not unread:
        return message
    name = os.path.abspath(file) if file else os.path.join(os.path.realpath(path), "Dockerfile")
    reason = reason.partition(": ")[2]
    return f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {name}: {reason}"


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise CommandError(f"Removing image ID file: remove {path}: {reason}") from exc


def _follow(response: Response, upload: Upload, *, quiet: bool) -> str:
    """Show what the engine says; the image's ID. Raises CommandError with the code of the command that failed."""
    image = ""
    code = 1
    held: list[str] = []

    def messages() -> Iterator[dict[str, Any]]:
        nonlocal code
        for message in response.json_stream():
            code = int((message.get("errorDetail") or {}).get("code") or code)
            if quiet:
                held.append(str(message.get("stream") or ""))
            yield message

    def took(aux: Any) -> None:
        nonlocal image
        image = str(aux.get("ID") or image)

    try:
        show(messages(), sys.stdout, aux=took, quiet=quiet)
    except CommandError as exc:
        sys.stderr.write("".join(held))
        raise CommandError(exc.message, code) from exc
    upload.check()
    sys.stdout.write("".join(held))
    return image


class _Sending:
    """``Sending build context to Docker daemon``: in a terminal as it goes, else once."""

    def __init__(self, out: TextIO, *, quiet: bool) -> None:
        self._out = out
        self._quiet = quiet
        self._moves = out.isatty()
        self._text = ""

    def report(self, size: int, done: bool) -> None:
        from rundlet.cli.format.units import human_size

        self._text = f"Sending build context to Docker daemon  {human_size(size, 4)}"
        if self._moves and not self._quiet:
            self._out.write(f"{self._text}\r")
            self._out.flush()

    def end(self) -> None:
        """The engine answers: all that it needs has been sent."""
        if self._text and not self._quiet:
            self._out.write(f"{self._text}\n")
            self._out.flush()
