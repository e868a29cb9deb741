"""Which names of an image in use ``image prune --all`` takes, and what several bounds of time come to."""

import pytest

from rundlet.engine.images.names import spare_names
from rundlet.engine.times import parse_earliest, parse_time
from rundlet.image.records import Image
from rundlet.oci.descriptor import Descriptor
from rundlet.oci.digest import Digest
from rundlet.oci.platform import Platform
from rundlet.oci.reference import Reference

ID = Digest.parse("sha256:" + "1" * 64)
AT = "@sha256:" + "a" * 64


class Clock:
    def now_ns(self) -> int:
        return 10**18

    def monotonic(self) -> float:
        return 0.0


def _image(*names: str) -> Image:
    references = [Reference.parse(name) for name in names]
    return Image(
        id=ID,
        manifest=Descriptor("", ID, 0),
        created="",
        created_ns=0,
        size=0,
        platform=Platform("amd64", "linux"),
        labels={},
        chain=None,
        parent=None,
        tagged_ns=0,
        tags=tuple(one for one in references if one.digest is None),
        digests=tuple(one for one in references if one.digest is not None),
    )


@pytest.mark.parametrize(
    ("names", "wanted", "gone"),
    [
        (["a:1"], ["a:1"], []),
        (["a:1"], [str(ID)], []),
        (["a:h", "a:a", "a:z"], [str(ID)], ["a:a", "a:h"]),
        (["a:latest", "a:a"], [str(ID)[:15]], ["a:a"]),
        (["a:a", "a:z"], ["a:a"], ["a:z"]),
        (["a:a", "a:latest"], ["docker.io/library/a"], ["a:a"]),
        (["a:a", "a:b", "a:c"], ["a:a", "a:c"], ["a:b"]),
        (["a:1", f"a{AT}"], [str(ID)], []),
        (["a:1", f"a{AT}", "b:1"], ["b:1"], ["a:1"]),
        (["a:1", f"a{AT}", "b:1", f"b{AT}"], ["b:1"], ["a:1"]),
        (["a:1", "a:2", f"a{AT}"], ["a:1"], ["a:2"]),
        (["a:1", f"b{AT}"], [f"b{AT}"], ["a:1"]),
        (["a:1", "a:2"], ["not a name at all"], ["a:1"]),
    ],
)
def test_names_that_no_container_was_made_from(names: list[str], wanted: list[str], gone: list[str]) -> None:
    assert [name.familiar for name in spare_names(_image(*names), wanted)] == gone


def test_the_earliest_of_several_bounds_holds() -> None:
    assert parse_earliest([], Clock()) is None
    assert parse_earliest(["1700000002", "1700000001"], Clock()) == 1700000001 * 10**9


@pytest.mark.parametrize("fraction", ["123456789", "5", "000000001"])
def test_times_have_nine_digits(fraction: str) -> None:
    whole = parse_time("2026-01-02T03:04:05Z", Clock())
    assert parse_time(f"2026-01-02T03:04:05.{fraction}Z", Clock()) == whole + int(fraction.ljust(9, "0"))
