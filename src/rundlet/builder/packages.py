"""What software is in an image, from what package managers write down: dpkg, apk, pacman, Python.

Pure: a tar of the databases' files goes in, packages come out. The files are the image's, so nothing in them is
trusted: what can't be read is left out, sizes are bounded.
"""

import io
import itertools
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import Final
from urllib.parse import quote

import msgspec

OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
DATABASES: Final = (
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/status.d/*",
    "/lib/apk/db/installed",
    "/usr/lib/apk/db/installed",
    "/var/lib/pacman/local/*/desc",
    *(
        f"{root}/python3*/{place}-packages/*-info/{name}"
        for root in ("/usr/lib", "/usr/local/lib")
        for place in ("dist", "site")
        for name in ("METADATA", "PKG-INFO")
    ),
)
"""Where to look, as patterns of COPY."""
_LARGEST: Final = 64 << 20
_MOST: Final = 50_000
_DIST_INFO: Final = re.compile(r"[^/]+\.(?:dist|egg)-info/(?:METADATA|PKG-INFO)\Z")


class Package(msgspec.Struct, frozen=True, order=True):
    """``kind`` is purl's type: deb, apk, alpm, pypi."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    license: str = ""

    def purl(self, distribution: str) -> str:
        """``pkg:deb/debian/bash@5.2?arch=amd64``; ``distribution`` is os-release's ID."""
        space = f"{quote(distribution, safe='')}/" if self.kind != "pypi" and distribution else ""
        query = f"?arch={quote(self.architecture, safe='')}" if self.architecture else ""
        return f"pkg:{self.kind}/{space}{quote(self.name, safe='')}@{quote(self.version, safe='')}{query}"


class Inventory(msgspec.Struct, frozen=True):
    """What was found. ``distribution`` is os-release's ID, "" where there is none."""

    packages: tuple[Package, ...]
    distribution: str = ""


def packages_in(archive: bytes) -> Inventory:
    """What the databases in ``archive``, a tar with full paths, list: sorted, each once."""
    found: set[Package] = set()
    distribution = ""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            for member in files:
                name = "/" + member.name.removeprefix("./").lstrip("/")
                reader = _reader(name)
                if not member.isreg() or member.size > _LARGEST or not (reader or name in OS_RELEASE):
                    continue
                file = files.extractfile(member)
                text = file.read().decode("utf-8", "replace") if file is not None else ""
                if reader is None:
                    distribution = distribution or _identity(text)
                    continue
                found.update(reader(text))
                if len(found) > _MOST:
                    break
    except tarfile.TarError:
        pass
    return Inventory(tuple(sorted(found)[:_MOST]), distribution)


def _identity(text: str) -> str:
    for line in text.split("\n"):
        if line.startswith("ID="):
            return line[3:].strip().strip("\"'")
    return ""


def _reader(name: str) -> Callable[[str], Iterable[Package]] | None:
    if name == "/var/lib/dpkg/status" or name.startswith("/var/lib/dpkg/status.d/"):
        return _dpkg
    if name.endswith("lib/apk/db/installed"):
        return _apk
    if name.startswith("/var/lib/pacman/local/") and name.endswith("/desc"):
        return _pacman
    return _python if _DIST_INFO.search(name) else None


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Blocks of ``Key: value`` lines; continuation lines are left out."""
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            key, colon, value = line.partition(":")
            if colon and key and not key[0].isspace():
                fields.setdefault(key, value.strip())
        if fields:
            yield fields


def _dpkg(text: str) -> Iterable[Package]:
    for fields in _paragraphs(text):
        installed = "installed" in fields.get("Status", "install ok installed").split()
        if installed and fields.get("Package") and fields.get("Version"):
            yield Package("deb", fields["Package"], fields["Version"], fields.get("Architecture", ""))


def _apk(text: str) -> Iterable[Package]:
    for fields in _paragraphs(text):
        if fields.get("P") and fields.get("V"):
            yield Package("apk", fields["P"], fields["V"], fields.get("A", ""), fields.get("L", ""))


def _pacman(text: str) -> Iterable[Package]:
    fields: dict[str, str] = {}
    lines = text.split("\n")
    for line, following in itertools.pairwise(lines):
        if line.startswith("%") and line.endswith("%"):
            fields[line.strip("%")] = following.strip()
    if fields.get("NAME") and fields.get("VERSION"):
        yield Package("alpm", fields["NAME"], fields["VERSION"], fields.get("ARCH", ""), fields.get("LICENSE", ""))


def _python(text: str) -> Iterable[Package]:
    head = text.partition("\n\n")[0]
    for fields in _paragraphs(head):
        if fields.get("Name") and fields.get("Version"):
            name = re.sub(r"[-_.]+", "-", fields["Name"]).lower()
            yield Package("pypi", name, fields["Version"])
        break
