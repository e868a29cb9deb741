"""What software an image's package databases list."""

import io
import tarfile

from rundlet.builder.packages import Package, packages_in
from rundlet.builder.statements import Subject, sbom
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform


def archive(**files: str) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as made:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(text.encode())
            made.addfile(member, io.BytesIO(text.encode()))
    return memory.getvalue()


def found(**files: str) -> list[tuple[str, str, str]]:
    return [(package.kind, package.name, package.version) for package in packages_in(archive(**files)).packages]


def test_dpkg() -> None:
    text = (
        "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2\nDescription: a\n more: x\n"
        "\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\n"
    )
    assert found(var__lib__dpkg__status=text) == [("deb", "bash", "5.2")]
    one = {"./var/lib/dpkg/status.d/libc6".replace("/", "__"): "Package: libc6\nVersion: 2\n"}
    assert found(**one) == [("deb", "libc6", "2")]


def test_apk() -> None:
    assert found(lib__apk__db__installed="C:Q1\nP:musl\nV:1.2-r0\nA:x86_64\nL:MIT\n\nP:zlib\nV:1\n") == [
        ("apk", "musl", "1.2-r0"),
        ("apk", "zlib", "1"),
    ]


def test_pacman() -> None:
    text = "%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%ARCH%\nx86_64\n"
    assert found(**{"var__lib__pacman__local__bash-5.2-1__desc": text}) == [("alpm", "bash", "5.2-1")]


def test_python() -> None:
    name = "usr__local__lib__python3.12__site-packages__My_Package-1.0.dist-info__METADATA"
    assert found(**{name: "Metadata-Version: 2.1\nName: My_Package\nVersion: 1.0\n\nName: other\n"}) == [
        ("pypi", "my-package", "1.0")
    ]


def test_what_can_not_be_read_is_left_out() -> None:
    assert packages_in(b"no tar at all").packages == ()
    assert found(var__lib__dpkg__status="\0\xff garbage", etc__passwd="Package: x\nVersion: 1\n") == []


def test_the_distribution_is_part_of_a_packages_address() -> None:
    inventory = packages_in(archive(etc__os__x="", **{"etc__os-release": 'NAME="D"\nID="debian"\n'}))
    assert inventory.distribution == "debian"
    assert (
        Package("deb", "libstdc++6", "1:2", "amd64").purl("debian") == "pkg:deb/debian/libstdc%2B%2B6@1%3A2?arch=amd64"
    )
    assert Package("pypi", "x", "1").purl("debian") == "pkg:pypi/x@1"


def test_a_bill_of_materials_has_whole_seconds() -> None:
    subject = Subject(Digest.of(b"x"), Platform("amd64", "linux"), ("a:1",))
    assert b'"created":"2026-01-02T03:04:05Z"' in sbom(subject, packages_in(b""), "2026-01-02T03:04:05.678Z")
