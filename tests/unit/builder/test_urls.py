"""What ``ADD URL`` asks for again, and what it need not."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from rundlet.builder import urls
from rundlet.builder.downloads import Seen
from rundlet.builder.errors import BuildError
from rundlet.builder.urls import Downloads, UrlMemory
from rundlet.transport import HttpClient
from rundlet.util.database import IN_MEMORY, Database

URL = "http://example.com/file"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Site:
    """Has ``data`` at every address, with a tag that tells of it; counts what is sent."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked = 0
        self.sent = 0

    @asynccontextmanager
    async def send(self, request: Any) -> AsyncIterator[Any]:
        self.asked += 1
        tag = sha256(self.data)
        unchanged = request.headers.get("If-None-Match") == tag
        self.sent += not unchanged
        yield _Answer(304 if unchanged else 200, {"ETag": tag}, b"" if unchanged else self.data)


class _Answer:
    reason = ""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.status, self.headers, self._data = status, headers, data

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._data


@pytest.fixture
def memory() -> Iterator[UrlMemory]:
    database = Database.open(IN_MEMORY, [urls.SCHEMA])
    yield UrlMemory(database)
    database.close()


@pytest.fixture
def site() -> Site:
    return Site(b"one")


@pytest.fixture
def build(memory: UrlMemory, site: Site, tmp_path: Path) -> Callable[[], Downloads]:
    """The downloads of another build."""
    made = iter(range(100))

    def directory() -> str:
        path = tmp_path / str(next(made))
        path.mkdir()
        return str(path)

    return lambda: Downloads(cast(HttpClient, site), memory, directory)


async def found(downloads: Downloads, checksum: str = "") -> str:
    return f"sha256:{(await downloads.find(URL, checksum, lambda _state: None)).digest}"


async def test_what_a_checksum_has_found_says_nothing_of_what_the_address_has_now(
    build: Callable[[], Downloads], site: Site
) -> None:
    assert await found(build()) == sha256(b"one")
    site.data = b"two"
    downloads = build()
    assert await found(downloads, sha256(b"one")) == sha256(b"one")
    assert site.asked == 1
    assert await found(downloads) == sha256(b"two")
    assert await found(downloads, sha256(b"one")) == sha256(b"one")
    assert site.asked == site.sent == 2


async def test_each_checksum_that_an_address_had_is_known_without_asking(
    build: Callable[[], Downloads], site: Site
) -> None:
    for data in (b"one", b"two"):
        site.data = data
        await found(build())
    downloads = build()
    for data in (b"one", b"two"):
        assert await found(downloads, sha256(data)) == sha256(data)
    assert site.asked == 2
    with pytest.raises(BuildError, match="digest mismatch"):
        await found(downloads, sha256(b"three"))


async def test_one_build_asks_once_with_a_checksum_and_without(build: Callable[[], Downloads], site: Site) -> None:
    downloads = build()
    await found(downloads, sha256(b"one"))
    await found(downloads)
    await found(downloads, sha256(b"one"))
    assert site.asked == site.sent == 1


async def test_each_of_two_contents_of_an_address_is_at_hand(build: Callable[[], Downloads], site: Site) -> None:
    downloads = build()
    first = await downloads.find(URL, "", lambda _state: None)
    site.data = b"two"
    second = await downloads.find(URL, sha256(b"two"), lambda _state: None)
    assert Path((await first.here()).path).read_bytes() == b"one"
    assert Path((await second.here()).path).read_bytes() == b"two"
    assert site.sent == 2


async def test_an_unchanged_file_is_brought_when_it_is_needed_after_all(
    build: Callable[[], Downloads], site: Site
) -> None:
    await found(build())
    downloads = build()
    file = await downloads.find(URL, "", lambda _state: None)
    assert site.sent == 1
    assert Path((await file.here()).path).read_bytes() == b"one"
    site.data = b"two"
    again = await build().find(URL, sha256(b"one"), lambda _state: None)
    with pytest.raises(BuildError, match="digest mismatch"):
        await again.here()


def test_what_changes_often_does_not_push_out_what_does_not(memory: UrlMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "_ROWS", 6)

    def seen(number: int) -> Seen:
        return Seen(f"{number}", "", "file", hashlib.sha256(b"%d" % number).hexdigest())

    memory.put("http://a/", seen(0))
    for tag in range(5):
        memory.put("http://b/", Seen(f"{tag}", "", "file", seen(1).digest))
    assert memory.find("http://a/", "") == seen(0)
    assert memory.find("http://b/", "") == Seen("4", "", "file", seen(1).digest)
    for number in range(2, 5):
        memory.put(f"http://{number}/", seen(number))
    assert memory.find("http://a/", "") is None
    assert memory.find("http://4/", "") == seen(4)
    memory.clear()
    assert memory.find("http://4/", "") is None


def test_what_has_just_been_seen_is_known(memory: UrlMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its address has been known, and however often it had something else."""
    monkeypatch.setattr(urls, "_ROWS", 6)
    for number in range(20):
        seen = Seen("", "", "file", hashlib.sha256(b"%d" % number).hexdigest())
        memory.put(URL, seen)
        assert memory.find(URL, "") == memory.find(URL, f"sha256:{seen.digest}") == seen
    assert memory._database.query("SELECT COUNT(*) FROM build_urls") == [(6,)]


async def test_nobody_else_asks_for_an_address_meanwhile_and_its_lock_goes(memory: UrlMemory) -> None:
    order: list[str] = []

    async def work(name: str) -> None:
        async with memory.alone(URL):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(work("a"), work("b"), work("c"))
    assert order == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert not memory._locks
