"""Creating a container, pulling its image when it is missing: what ``run`` and ``create`` share."""

from __future__ import annotations

import os
import sys

from rundlet.cli.contenttrust import enabled
from rundlet.cli.exit import CommandError, RunError, start_error_code
from rundlet.cli.options.container import create_body
from rundlet.cli.variables import platform, with_proxies
from rundlet.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rundlet.cli.main import Invocation
    from rundlet.cli.reference import ImageName

PULL_POLICIES = ("always", "missing", "never", "")
_NO_NAME = "invalid reference format"


def check_platform_flags(flags: Any, no_platform: type[CommandError] = RunError) -> None:
    """Values that only this side looks at. Raises RunError, for what is no platform ``no_platform``."""
    if flags["pull"] not in PULL_POLICIES:
        raise RunError(f'invalid pull option: \'{flags["pull"]}\': must be one of "always", "missing" or "never"')
    wanted = platform(flags)
    if wanted:
        from rundlet.cli.platforms import platform_json

        try:
            platform_json(wanted, "error parsing specified platform: ")
        except CommandError as exc:
            raise no_platform(exc.message) from exc
    if flags["rootfs-image"] and not flags["rootfs"]:
        raise RunError("--rootfs-image needs --rootfs")


class PullError(RunError):
    """The image is not here and could not be pulled."""


class Creation:
    """One container to be made from an invocation of ``run`` or ``create``."""

    def __init__(self, call: Invocation) -> None:
        self.call = call
        self.flags = call.flags
        if call.flags["rootfs"]:
            # No image is needed then: all words are the command.
            self.image, command = call.flags["rootfs-image"], call.args
        else:
            self.image, command = call.args[0], call.args[1:]
            if not self.image:
                raise ClientError(_NO_NAME)
        self.body = create_body(call.flags, self.image, command)
        if "proxies" in call.context.config:
            self.body["Env"] = with_proxies(self.body["Env"], call.context)
        self._signed: ImageName | None = None
        self._tag = ""

    def create(self) -> str:
        """The new container's ID; warnings are printed, --cidfile is written. Raises RunError, ClientError."""
        self._warn_of_resolvers()
        cidfile = self._open_cidfile()
        try:
            if self.image and enabled(self.call):
                self._resolve_signed()
            logins = self._with_socket()
            if self.image and self.flags["pull"] == "always":
                self._pull()
            answer = self._create_or_pull()
        except BaseException:
            if cidfile is not None:
                os.close(cidfile)
                os.unlink(self.flags["cidfile"])
            raise
        for warning in answer.get("Warnings") or ():
            self.call.context.warn(f"WARNING: {warning}")
        identifier = str(answer["Id"])
        if cidfile is not None:
            self._write_cidfile(cidfile, identifier)
        if logins:
            from rundlet.cli.api_socket import give_logins

            give_logins(self.call.context, identifier, logins)
        return identifier

    def _with_socket(self) -> dict[str, dict[str, str]]:
        """--use-api-socket: the logins that the container is to have. Raises ClientError."""
        if not self.flags["use-api-socket"]:
            return {}
        from rundlet.cli.api_socket import prepare

        return prepare(self.call.context, self.body)

    def _warn_of_resolvers(self) -> None:
        """The machine's own at a loopback address is not the container's."""
        for text in self.body["HostConfig"].get("Dns") or ():
            if text.startswith("127.") or ":" in text:
                from ipaddress import IPv6Address, ip_address

                address = ip_address(text)
                if isinstance(address, IPv6Address):
                    address = address.ipv4_mapped or address
                if address.is_loopback:
                    self.call.context.warn(f"WARNING: Localhost DNS ({address}) may fail in containers.")
                    return

    def _resolve_signed(self) -> None:
        """With content trust, a tag stands for the digest that it is signed for. Raises PullError."""
        from rundlet.cli.reference import parse
        from rundlet.cli.trust.pulling import signed_reference

        try:
            name = parse(self.image).with_default_tag()
            if name.digest:
                return
            self._signed, self._tag = signed_reference(self.call.context, name), name.tag
        except CommandError as exc:
            raise PullError(exc.message) from exc
        self.body["Image"] = self._signed.familiar

    def _open_cidfile(self) -> int | None:
        path = self.flags["cidfile"]
        if not path:
            return None
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError as exc:
            raise RunError(
                f"container ID file found, make sure the other container isn't running or delete {path}"
            ) from exc
        except OSError as exc:
            reason = f"open {path}: {(exc.strerror or '').lower()}"
            message = f"failed to create the container ID file: {reason}"
            raise RunError(message, start_error_code(message)) from exc

    def _write_cidfile(self, fd: int, identifier: str) -> None:
        """Raises ClientError; the file is then removed."""
        path = self.flags["cidfile"]
        try:
            try:
                os.write(fd, identifier.encode())
            finally:
                os.close(fd)
        except OSError as exc:
            os.unlink(path)
            reason = f"write {path}: {(exc.strerror or '').lower()}"
            raise ClientError(f"failed to write the container ID to the file: {reason}") from exc

    def _create_or_pull(self) -> dict[str, Any]:
        try:
            return self._post()
        except ApiError as exc:
            if not self._image_is_missing(exc) or self.flags["pull"] != "missing":
                raise
        from rundlet.cli.reference import parse

        name = self._signed or parse(self.image).with_default_tag()
        if not self.flags["quiet"]:
            self.call.context.warn(f"Unable to find image '{name.familiar}' locally")
        self._pull()
        return self._post()

    @staticmethod
    def _image_is_missing(error: ApiError) -> bool:
        """It isn't here, or only for another platform than the one asked for."""
        message = error.message.lower()
        return error.status == 404 and ("no such image" in message or "was found but its platform" in message)

    def _post(self) -> dict[str, Any]:
        flags = self.flags
        query = {"name": flags["name"] or None, "platform": platform(flags) or None}
        try:
            answer: dict[str, Any] = self.call.context.session.post("/containers/create", query, self.body)
        except CommandError as exc:
            raise RunError(exc.message) from exc
        except ApiError as exc:
            if exc.status == 400 and exc.message.startswith(_NO_NAME):
                # Docker's command line looks at the name itself; here the engine's word is waited for.
                raise ClientError(exc.message) from exc
            raise
        return answer

    def _pull(self) -> None:
        from rundlet.cli.pulling import pull_or_explain
        from rundlet.cli.reference import parse

        quiet = self.flags["quiet"]
        try:
            name = self._signed or parse(self.image).with_default_tag()
            pull_or_explain(self.call.context, name, sys.stderr, platform=platform(self.flags), quiet=quiet)
            if self._signed is not None:
                from rundlet.cli.trust.pulling import tag_signed

                tag_signed(self.call.context, self._signed, self._tag, quiet=quiet)
        except CommandError as exc:
            raise PullError(exc.message) from exc
