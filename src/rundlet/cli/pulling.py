"""Pulling an image, for ``pull`` and for ``run`` when the image is missing."""

from __future__ import annotations

from rundlet.cli.credentials import registry_headers
from rundlet.cli.exit import CommandError
from rundlet.cli.progress import show
from rundlet.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from rundlet.cli.context import Context
    from rundlet.cli.reference import ImageName


def pull(context: Context, name: ImageName, out: TextIO, *, platform: str = "", quiet: bool = False) -> None:
    """Pull one image (all tags when ``name`` has neither tag nor digest). Raises CommandError, ApiError."""
    messages = context.session.stream(
        "POST",
        "/images/create",
        query={
            "fromImage": name.familiar_name,
            "tag": name.tag_or_digest or None,
            "platform": platform or None,
        },
        headers=registry_headers(context, name.domain),
    )
    show(messages, out, quiet=quiet)


def hint(program: str) -> str:
    """What works without a registry, for the line after a failed pull."""
    return (
        f"Without a registry, '{program} import' makes an image from a file system's tar archive and "
        f"'{program} load' takes one that was saved."
    )


def pull_or_explain(context: Context, name: ImageName, out: TextIO, *, platform: str = "", quiet: bool = False) -> None:
    """As :func:`pull`; where the registry can't be reached the failure ends with the hint. Raises CommandError."""
    try:
        pull(context, name, out, platform=platform, quiet=quiet)
    except ApiError as exc:
        raise CommandError(_explained(str(exc), context)) from exc
    except CommandError as exc:
        raise CommandError(_explained(exc.message, context), exc.code) from exc


def _explained(said: str, context: Context) -> str:
    return f"{said}\n{hint(context.program)}" if "dial tcp" in said else said
