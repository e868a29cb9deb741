"""One build from beginning to end, as the command line sees it."""

from __future__ import annotations

import sys

from rundlet.cli.building import query as wire
from rundlet.cli.building.display import Locked, QuietDisplay, choose_display, default_mode, standard_error
from rundlet.cli.building.excerpt import excerpt
from rundlet.cli.building.failure import build_error, check_error, check_report, warnings_text
from rundlet.cli.building.own_steps import ContextStep, result_step
from rundlet.cli.building.packing import Tree
from rundlet.cli.building.sources import open_source
from rundlet.cli.building.upload import Upload
from rundlet.cli.exit import CommandError
from rundlet.cli.progress import show
from rundlet.client.errors import ApiError
from rundlet.client.wire import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from rundlet.cli.building.display import Display
    from rundlet.cli.building.outputs import Output
    from rundlet.cli.building.sources import Source
    from rundlet.cli.context import Context
    from rundlet.client.http import Response

_RICH = ("vertexes", "statuses", "logs", "warnings")
_SILENT = ("rawjson", "quiet", "none")
_CHECK = "rundlet.build.check"
_CALL = "rundlet.build.call"


class _Outcome:
    """What the engine said besides progress."""

    def __init__(self) -> None:
        self.image = ""
        self.metadata: dict[str, Any] = {}
        self.outputs: list[dict[str, Any]] = []
        self.check: dict[str, Any] | None = None
        self.answer: dict[str, Any] | None = None
        self.rich = False

    def take(self, aux: Any) -> None:
        if not isinstance(aux, dict):
            return
        if aux.get("ID") == _CHECK:
            self.check = aux
            return
        if aux.get("ID") == _CALL:
            self.answer = aux
            return
        self.image = str(aux.get("ID") or self.image)
        # A build of nothing but LABEL and its like has no steps to tell of.
        self.rich = self.rich or "Metadata" in aux
        self.metadata.update(aux.get("Metadata") or {})
        self.outputs += aux.get("Outputs") or ()


def build(context: Context, flags: dict[str, Any], path: str, *, signed_only: bool = False) -> int:
    """Run one build; the exit code. ``signed_only``: with content trust. Raises CommandError."""
    wanted = wire.outputs(flags)
    query = wire.build_query(context, flags, wanted)
    quiet = flags["quiet"] or wire.is_check(flags) or bool(wire.other_call(flags))
    mode = default_mode(flags["progress"])
    display = Locked(QuietDisplay() if quiet else choose_display(mode, standard_error()))
    source = open_source(path, flags["file"])
    lent = lend(context, flags, source if signed_only else None)
    headers = {"Accept": wire.ACCEPT, **wire.registry_config(context)}
    told, body = packed(context, source)
    if flags["compress"] and body is not None:
        body = compressed(body)
    own = ContextStep()
    upload = Upload(
        context.session,
        "/build",
        {**query, **source.query, **told, **lent},
        headers,
        lambda size, done: display.update(own.message(size, done=done)),
    )
    try:
        silent = quiet or mode in _SILENT
        outcome = _follow(upload, body, source, display, quiet=quiet, fail=_Failure(wire.is_check(flags), silent))
        if outcome.image and outcome.rich and wire.makes_image(wanted):
            display.update(result_step(outcome.image, wire.result_names(flags["tag"], wanted)))
    finally:
        display.finish()
    if outcome.check is not None:
        return _checked(outcome.check, source)
    if outcome.answer is not None:
        text = f"{outcome.answer.get('Document')}\n" if wire.wants_json(flags) else str(outcome.answer.get("Text"))
        sys.stdout.write(text)
        return int(outcome.answer.get("Status") or 0)
    if not quiet and mode not in _SILENT:
        sys.stderr.write(warnings_text(display.steps.warnings))
    return _finish(context, flags, wanted, outcome)


def packed(context: Context, source: Source) -> tuple[dict[str, Any], Iterator[bytes] | None]:
    """What /build is told, and sent, about the context."""
    if not isinstance(source.body, Tree):
        return {}, source.body
    from rundlet.cli.building.deltas import context_body

    return context_body(context.session, source.body)


def lend(context: Context, flags: dict[str, Any], signed: Source | None) -> dict[str, Any]:
    """Hand over what the build may borrow, and what the images of ``signed`` stand for; what /build is told of it."""
    local = any("type=local" in word for word in flags["cache-from"])
    if not (flags["secret"] or flags["build-context"] or flags["ssh"] or local or signed is not None):
        return {}
    from rundlet.cli.building.lending import Lending
    from rundlet.cli.building.secrets import read_agents, read_secrets

    lending = Lending(context.session)
    lending.secrets(read_secrets(flags["secret"]))
    lending.contexts(flags["build-context"])
    lending.agents(read_agents(flags["ssh"]))
    query = lending.query()
    if local:
        query = {"cachefrom": dumps(lending.caches(flags["cache-from"])), **lending.query()}
    if signed is None:
        return query
    from rundlet.cli.trust.building import signed_images

    lending.images(signed_images(context, signed.dockerfile))
    return {**query, **lending.query(), "signedonly": "1"}


def compressed(body: Iterator[bytes]) -> Iterator[bytes]:
    import zlib

    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in body:
        yield packer.compress(piece)
    yield packer.flush()


class _Failure:
    """How a failure is told: to somebody who has asked for a check, and without warnings if ``silent``."""

    def __init__(self, check: bool, silent: bool) -> None:
        self.check = check
        self.silent = silent

    def error(self, reason: str, detail: dict[str, Any], source: Source, display: Display) -> CommandError:
        if self.check:
            return check_error(reason, detail, source)
        return build_error(reason, detail, source, display.steps, warnings=not self.silent)


def _follow(
    upload: Upload, body: Iterator[bytes] | None, source: Source, display: Display, *, quiet: bool, fail: _Failure
) -> _Outcome:
    """Send and show. Raises CommandError when the build fails."""
    answer = upload.start(body)
    try:
        response = answer()
    except ApiError as exc:
        # Refused before it began.
        display.finish()
        reason = str(exc).removeprefix("Error response from daemon: ")
        raise fail.error(reason, {}, source, display) from exc
    outcome = _Outcome()
    others = _sorted_out(_messages(response, upload), source, display, outcome, fail)
    # What is no state of a step comes from an engine that knows the classic builder's text only.
    show(others, sys.stdout, aux=outcome.take, quiet=quiet)
    upload.check()
    return outcome


def _sorted_out(
    messages: Iterator[dict[str, Any]], source: Source, display: Display, outcome: _Outcome, fail: _Failure
) -> Iterator[dict[str, Any]]:
    """Show the states of steps, and raise what has failed; the rest is passed on."""
    for message in messages:
        detail = message.get("errorDetail")
        if detail or message.get("error"):
            display.finish()
            text = str((detail or {}).get("message") or message["error"])
            raise fail.error(text, detail or {}, source, display)
        if any(key in message for key in _RICH):
            outcome.rich = True
            display.update(message)
        else:
            yield message


def _messages(response: Response, upload: Upload) -> Iterator[dict[str, Any]]:
    from rundlet.client.errors import ClientError

    try:
        yield from response.json_stream()
    except ClientError:
        # A context that could not be sent whole ends the engine's answer too; the reason is on this side.
        upload.check()
        raise


def _checked(found: dict[str, Any], source: Source) -> int:
    text = (source.dockerfile or b"").decode("utf-8", "replace") or str(found.get("Source") or "")
    warnings = found.get("Warnings") or []
    wrong = "ErrorLine" in found  # the file, and no rule of style: nothing more is to be said where there is no warning
    if warnings or not wrong:
        sys.stdout.write(check_report(warnings, source, text))
    if found.get("Error"):
        sys.stdout.flush()
        where = excerpt(text, source.shown, int(found["ErrorLine"]), int(found["ErrorEnd"])) if wrong else ""
        sys.stderr.write(f"ERROR: {found['Error']}\n{where}")
    return 1 if warnings or wrong else 0


def _finish(context: Context, flags: dict[str, Any], wanted: list[Output], outcome: _Outcome) -> int:
    for entry in outcome.outputs:
        from rundlet.cli.building.outputs import Output, fetch

        if "cache" in entry:
            from rundlet.cli.building.lending import local_directory

            destination = local_directory(flags["cache-to"][int(entry["cache"])], "dest")
            fetch(context.session, Output("local", {}, destination, files=True), str(entry["url"]))
            continue
        index = int(entry.get("index") or 0)
        if 0 <= index < len(wanted) and wanted[index].comes_back:
            fetch(context.session, wanted[index], str(entry["url"]))
    if flags["iidfile"]:
        _write(flags["iidfile"], outcome.image)
    if flags["metadata-file"]:
        metadata = outcome.metadata or {"containerimage.config.digest": outcome.image}
        _write(flags["metadata-file"], _indented(metadata))
    if flags["quiet"] and outcome.image:
        context.say(outcome.image)
    return 0


def _indented(metadata: dict[str, Any]) -> str:
    rows = [f"  {dumps(key)}: {dumps(value)}" for key, value in sorted(metadata.items())]
    return "{\n" + ",\n".join(rows) + "\n}"


def _write(path: str, text: str) -> None:
    """A file that appears whole or not at all."""
    from rundlet.util.fs import write_atomic

    try:
        write_atomic(path, text.encode(), mode=0o644)
    except OSError as exc:
        raise CommandError(f"ERROR: failed to build: open {path}: {(exc.strerror or '').lower()}") from exc
