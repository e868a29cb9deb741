"""Files from elsewhere: over HTTP, and out of git repositories."""

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from rundlet.builder.errors import BuildError
from rundlet.builder.gitlogin import login_settings
from rundlet.image.records import OnProgress, Progress
from rundlet.oci.digest import Digest
from rundlet.transport import HttpClient
from rundlet.transport.errors import without_password
from rundlet.transport.http import Request, Response

_GIT_HOSTS: Final = ("github.com/",)
_GIT_SUFFIX: Final = re.compile(r"\.git(?:\?[^#]*)?(?:#.*)?\Z")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}\Z")
_SCP: Final = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.\-\[\]]+:(?!//)")
_GIT_SECONDS: Final = 600
_SETTLED_NS: Final = 60 * 10**9
_GIT_FIELDS: Final = {
    "ref": "reference",
    "tag": "reference",
    "branch": "reference",
    "subdir": "directory",
    "commit": "commit",
    "checksum": "commit",
}
_GIT_FLAGS: Final = {"keep-git-dir": "keep_metadata", "submodules": "submodules"}


class Seen(msgspec.Struct, frozen=True):
    """A file at an address as it was. ``etag``, or else ``modified`` (a date, as it was sent), is what its server
    recognises it by; where both are "", it recognises nothing."""

    etag: str
    modified: str
    name: str
    digest: str

    @property
    def conditions(self) -> dict[str, str]:
        if self.etag:
            return {"If-None-Match": self.etag}
        return {"If-Modified-Since": self.modified} if self.modified else {}

    def still(self, response: Response) -> bool:
        """Whether ``response`` says that it is so still. Some servers know no conditions, but send the tag again."""
        same_tag = bool(self.etag) and response.headers.get("ETag") == self.etag
        return (response.status == 304 and bool(self.conditions)) or (response.status == 200 and same_tag)


class Download(msgspec.Struct, frozen=True):
    """A file that has arrived, ``seen`` so. ``mtime_ns`` is what the server says, 0 when it says nothing."""

    path: str
    seen: Seen
    size: int
    mtime_ns: int
    kind: str

    @property
    def name(self) -> str:
        return self.seen.name

    @property
    def digest(self) -> str:
        return self.seen.digest


class GitSource(msgspec.Struct, frozen=True):
    """``url#reference:directory``; in a query ``commit`` (or ``checksum``) says what the reference has to be, and the
    rest may be said there too."""

    url: str
    reference: str = ""
    directory: str = ""
    commit: str = ""
    keep_metadata: bool = False
    submodules: bool = True


def is_http(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def git_source(text: str) -> GitSource | None:
    """``text`` as a git repository; None for anything else."""
    base, _, fragment = text.partition("#")
    reference, _, directory = fragment.partition(":")
    if text.startswith(_GIT_HOSTS):
        base = f"https://{base}"
    elif not (
        text.startswith(("git://", "ssh://")) or _SCP.match(text) or (is_http(text) and _GIT_SUFFIX.search(text))
    ):
        return None
    url, _, query = base.partition("?")
    return _queried(GitSource(url, reference, directory), query)


def _queried(source: GitSource, query: str) -> GitSource:
    """``source`` with what ``query`` adds. Raises BuildError."""
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _GIT_FLAGS:
            if value.lower() not in ("", "true", "false", "1", "0"):
                raise BuildError(f'invalid {name} value: "{value}"')
            source = msgspec.structs.replace(source, **{_GIT_FLAGS[name]: value.lower() in ("", "true", "1")})
            continue
        field = _GIT_FIELDS.get(name)
        if field is None:
            raise BuildError(f'unexpected query "{name}"')
        if not value:
            raise BuildError(f'query "{name}" has no value')
        meant = {"tag": f"refs/tags/{value}", "branch": f"refs/heads/{value}"}.get(name, value)
        if getattr(source, field) not in ("", meant):
            what = "ref" if field == "reference" else name
            raise BuildError(f'{what} conflicts: "{getattr(source, field)}" vs "{meant}"')
        source = msgspec.structs.replace(source, **{field: meant})
    return source if source.reference else msgspec.structs.replace(source, reference=source.commit)


async def fetch(http: HttpClient, url: str, directory: str, checksum: str, progress: OnProgress) -> Download:
    """``url`` into ``directory``. ``checksum`` (a digest, or "") is verified. Raises BuildError, TransportError."""
    found = await fetch_changed(http, url, directory, checksum, progress, None)
    assert found is not None
    return found


async def fetch_changed(
    http: HttpClient, url: str, directory: str, checksum: str, progress: OnProgress, before: Seen | None
) -> Download | None:
    """The same; None where it is still what it was ``before``."""
    wanted = Digest.parse(checksum) if checksum else None
    hasher = wanted.hasher() if wanted is not None else hashlib.sha256()
    content = hashlib.sha256()
    path = f"{directory}/file"
    size = 0
    async with http.send(Request("GET", url, before.conditions if before is not None else {})) as response:
        if before is not None and before.still(response):
            return None
        if response.status != 200:
            place = without_password(url)
            raise BuildError(f"failed to GET {place} with status {response.status} {response.reason}".rstrip())
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() and len(length) < 19 else 0
        with open(path, "xb") as file:
            async for chunk in response.chunks():
                size += len(chunk)
                hasher.update(chunk)
                content.update(chunk)
                await asyncio.to_thread(file.write, chunk)
                progress(Progress("Downloading", "", size, total))
        headers = response.headers
    if wanted is not None and hasher.hexdigest() != wanted.encoded:
        raise BuildError(f"digest mismatch {wanted.algorithm}:{hasher.hexdigest()}: {wanted}")
    name = name_in_url(url) or _plain_name(_disposed(headers.get("Content-Disposition", "")))
    seen = Seen(headers.get("ETag", ""), _settled_time(headers), name, content.hexdigest())
    kind = headers.get("Content-Type", "").partition(";")[0].strip()
    return Download(path, seen, size, _time(headers.get("Last-Modified", "")), kind)


def name_in_url(url: str) -> str:
    """What the file that is asked for at ``url`` (wherever that leads) is called; "" where nothing tells."""
    return _plain_name(unquote(urlsplit(url).path).rpartition("/")[2])


def _disposed(disposition: str) -> str:
    header = Message()
    header["Content-Disposition"] = disposition
    return header.get_filename("") if disposition else ""


def _plain_name(name: str) -> str:
    return name if name not in (".", "..") and "/" not in name and "\0" not in name else ""


def _settled_time(headers: Mapping[str, str]) -> str:
    """Last-Modified, where it tells the file from what it may become (RFC 9110, 8.8.2.2); else ""."""
    modified = headers.get("Last-Modified", "")
    age = _time(headers.get("Date", "")) - _time(modified)
    return modified if _time(modified) and age >= _SETTLED_NS else ""


def _time(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 10**9
    except (ValueError, TypeError, OverflowError):
        return 0


async def clone(
    source: GitSource,
    directory: str,
    *,
    keep_metadata: bool,
    submodules: bool = True,
    secrets: Mapping[str, bytes],
    on_line: Callable[[str], None],
) -> str:
    """Check ``source`` out into ``directory``; the commit. ``secrets`` of the build may open it.

    Raises BuildError with what git said.

    git runs with an environment of its own, asks nobody anything, and speaks http, https, git and ssh only.
    """
    reference = source.reference or "HEAD"
    if reference.startswith("-") or source.url.startswith("-"):
        raise BuildError(f"invalid git reference: {reference}")
    git = partial(_git, directory, login_settings(source.url, secrets), on_line=on_line)
    await git("init", "-q")
    await git("remote", "add", "origin", source.url)
    try:
        await git("fetch", "-q", "--depth", "1", "origin", reference)
        found = "FETCH_HEAD"
    except BuildError:
        # A server that gives no single commits, no short histories, or a commit's beginning only.
        if _COMMIT.match(reference):
            await git("fetch", "-q", "--tags", "origin")
            found = reference
        elif await git("ls-remote", "origin", reference, f"{reference}^{{}}"):
            await git("fetch", "-q", "origin", reference)
            found = "FETCH_HEAD"
        else:
            raise BuildError(f'repository does not contain ref {reference}, output: ""') from None
    await git("checkout", "-q", "--detach", found)
    if submodules and source.submodules and os.path.exists(f"{directory}/.gitmodules"):
        await git("submodule", "update", "-q", "--init", "--recursive", "--depth", "1")
    commit = (await git("rev-parse", "HEAD")).strip()
    if not commit.startswith(source.commit):
        raise BuildError(f"expected checksum to match {source.commit}, got {commit}")
    if not (keep_metadata or source.keep_metadata):
        from rundlet.storage.tree import remove_path

        await asyncio.to_thread(remove_path, f"{directory}/.git")
    return commit


async def _git(directory: str, login: Mapping[str, str], *words: str, on_line: Callable[[str], None]) -> str:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": directory,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        **{
            name: os.environ[name]
            for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
            if name in os.environ
        },
        **login,
    }
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.symlinks=true",
            *words,
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as exc:
        raise BuildError("a git repository needs the program git on the engine's machine: install git") from exc
    try:
        out, errors = await asyncio.wait_for(process.communicate(), _GIT_SECONDS)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        raise
    said = errors.decode("utf-8", "replace").strip()
    if said:
        on_line(said)
    if process.returncode:
        raise BuildError(f"failed to fetch the git repository: {said or f'git {words[0]}: {process.returncode}'}")
    return out.decode("utf-8", "replace")
