"""Reading logs: the last lines, rotation, and where to stop."""

import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from rundlet.runtime import logcompress, logfile, logreader
from rundlet.runtime.logfile import LogWriter
from rundlet.runtime.logreader import LogReader


def line(text: str) -> str:
    return json.dumps({"log": f"{text}\n", "stream": "stdout", "time": "2026-01-02T03:04:05.5Z"}) + "\n"


def texts(reader: LogReader) -> list[str]:
    found = []
    while entries := reader.read():
        found += [entry.log.rstrip("\n") for entry in entries]
    return found


def rotated(tmp_path: Path) -> str:
    path = tmp_path / "log"
    (tmp_path / "log.2").write_text(line("a") + line("b"))
    (tmp_path / "log.1").write_text(line("c") + line("d"))
    path.write_text(line("e") + line("f"))
    return str(path)


def test_all_files_oldest_first(tmp_path: Path) -> None:
    path = rotated(tmp_path)
    assert texts(LogReader(path)) == list("abcdef")


def test_tail_reaches_over_files(tmp_path: Path) -> None:
    path = rotated(tmp_path)
    for count, expected in ((0, ""), (1, "f"), (2, "ef"), (3, "def"), (5, "bcdef"), (9, "abcdef")):
        assert texts(LogReader(path, count)) == list(expected), count


def test_what_is_written_later_is_read_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = LogReader(str(path))
    assert texts(reader) == []
    path.write_text(line("a") + line("b")[:10])
    assert texts(reader) == ["a"]
    with path.open("a") as file:
        file.write(line("b")[10:])
    assert texts(reader) == ["b"]


def test_a_rotation_while_following_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(line("a"))
    reader = LogReader(str(path))
    assert texts(reader) == ["a"]
    with path.open("a") as file:
        file.write(line("b"))
    path.rename(tmp_path / "log.1")
    path.write_text(line("c"))
    (tmp_path / "log.1").rename(tmp_path / "log.2")
    path.rename(tmp_path / "log.1")
    path.write_text(line("d"))
    assert texts(reader) == ["b", "c", "d"]


def test_the_end_is_in_the_file_being_written(tmp_path: Path) -> None:
    path = rotated(tmp_path)
    assert texts(LogReader(path, end=len(line("e")))) == list("abcde")
    assert texts(LogReader(path, end=0)) == list("abcd")


def test_a_writer_that_never_stops_is_not_run_after(tmp_path: Path) -> None:
    """Without following, the log is what it is when the reading begins; ``tail`` counts from there."""
    path = rotated(tmp_path)
    for tail, expected in ((None, "abcdef"), (1, "f"), (3, "def"), (0, "")):
        reader = LogReader(path, tail, still=True)
        found = []
        with open(path, "a") as log:
            for _ in range(10):
                log.write(line("later"))
                log.flush()
                found += [entry.log.rstrip("\n") for entry in reader.read()]
        reader.close()
        assert found == list(expected)
        os.truncate(path, len(line("e") + line("f")))
    with open(path, "a") as log:
        log.write(line("later")[:-5])  # just being written
    assert texts(LogReader(path, 2, still=True)) == ["e", "f"]
    (tmp_path / "new").mkdir()
    reader = LogReader(str(tmp_path / "new/log"), still=True)
    (tmp_path / "new/log").write_text(line("later"))
    assert texts(reader) == []


def test_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(line("a") + '{"log":"hal\n' + line("b"))
    assert texts(LogReader(str(path))) == ["a", "b"]


def test_compressed_files_are_read_like_others(tmp_path: Path) -> None:
    path = rotated(tmp_path)
    for number in (1, 2):
        logcompress.compress(f"{path}.{number}")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["log", "log.1.gz", "log.2.gz"]
    assert gzip.decompress((tmp_path / "log.1.gz").read_bytes()).decode() == line("c") + line("d")
    assert texts(LogReader(path)) == list("abcdef")
    for count, expected in ((2, "ef"), (3, "def"), (5, "bcdef")):
        assert texts(LogReader(path, count)) == list(expected), count


def test_a_file_that_is_compressed_while_it_is_read_is_known_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(line("a"))
    reader = LogReader(str(path))
    assert texts(reader) == ["a"]
    for text in "bc":
        path.rename(tmp_path / "log.1")
        path.write_text(line(text))
        if text == "b":
            logcompress.compress(str(tmp_path / "log.1"))
            (tmp_path / "log.1.gz").rename(tmp_path / "log.2.gz")
    assert texts(reader) == ["b", "c"]


def test_a_reader_whose_file_was_deleted_goes_on_with_all_that_is_left(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(line("a"))
    reader = LogReader(str(path))
    assert texts(reader) == ["a"]
    path.unlink()
    rotated(tmp_path)
    assert texts(reader) == list("abcdef")


def test_attributes_come_with_each_entry(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(str(path), attributes={"tag": 'a "b"'})
    writer.write("stdout", b"x\n")
    writer.close()
    (entry,) = LogReader(str(path)).read()
    assert (entry.log, entry.attributes) == ("x\n", {"tag": 'a "b"'})


def test_the_writer_compresses_what_it_rotates_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(str(path), 1000, 50, compress=True)
    for number in range(100):
        writer.write("stdout", b"%03d\n" % number)
    writer.close()
    assert {item.name for item in tmp_path.iterdir()} == {"log", *(f"log.{n}.gz" for n in range(1, 8))}
    assert texts(LogReader(str(path))) == [f"{number:03d}" for number in range(100)]


def _numbers(reader: LogReader) -> list[int]:
    return [int(entry.log) for entry in reader.read()]


@pytest.mark.parametrize("compress", [False, True])
def test_a_slow_reader_keeps_what_it_has_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool) -> None:
    """Every write rotates, two files are kept, and the reader is behind by more than that: names alone lose entries."""
    monkeypatch.setattr(logreader, "_BATCH", 150)
    path = tmp_path / "log"
    writer = LogWriter(str(path), 1, 2, compress=compress)
    writer.write("stdout", b"0\n1\n2\n")
    reader = LogReader(str(path))
    found = _numbers(reader)
    for number in range(3, 31, 4):
        for first, reads in ((number, 1), (number + 2, 3)):
            writer.write("stdout", b"%d\n" % first)
            writer.write("stdout", b"%d\n" % (first + 1))
            for _ in range(reads):
                found += _numbers(reader)
    while more := _numbers(reader):
        found += more
    assert found == list(range(found[0], 31))
    reader.close()
    writer.close()


def test_a_reader_that_nobody_reads_holds_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logreader, "_HELD", 0)
    path = tmp_path / "log"
    writer = LogWriter(str(path), 1, 3)
    writer.write("stdout", b"0\n")
    reader = LogReader(str(path))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(1, 200):
        writer.write("stdout", b"%d\n" % number)
        reader.look()
    assert len(os.listdir("/proc/self/fd")) - before <= 9
    found: list[int] = []
    while more := _numbers(reader):
        found += more
    # It has lost some, but goes on with the oldest that are left.
    assert found == sorted(set(found)) and found[0] == 0 and found[-3:] == [197, 198, 199]
    reader.close()
    writer.close()


def test_a_flood_changes_no_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = LogWriter(str(path), 1, 4)
    done = threading.Event()

    def flood() -> None:
        for number in range(500):
            writer.write("stdout", b"%d\n" % number)
        done.set()

    thread = threading.Thread(target=flood)
    thread.start()
    reader = LogReader(str(path))
    found: list[int] = []
    while True:
        ended = done.is_set()
        while more := _numbers(reader):
            found += more
        if ended:
            break
    thread.join()
    reader.close()
    writer.close()
    assert found == sorted(set(found))
    assert found[-1] == 499


@pytest.mark.parametrize("kept", [1, 3])
def test_the_writer_waits_for_who_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """Every write rotates, and the reader is only ever asked to look: nothing is dropped before it has."""
    monkeypatch.setattr(logfile, "_TRIES", 1_000_000)
    path = tmp_path / "log"
    writer = LogWriter(str(path), 1, kept)
    writer.write("stdout", b"0\n")
    reader = LogReader(str(path), follow=True)
    reader.look()
    done = threading.Event()

    def flood() -> None:
        for number in range(1, 200):
            writer.write("stdout", b"%d\n" % number)
        done.set()

    thread = threading.Thread(target=flood)
    thread.start()
    while not done.is_set():
        reader.look()
    thread.join()
    found: list[int] = []
    while more := _numbers(reader):
        found += more
    reader.close()
    writer.close()
    assert found == list(range(200))


def test_the_writer_waits_no_longer_than_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    path = tmp_path / "log"
    writer = LogWriter(str(path), 1, 3)
    writer.write("stdout", b"0\n")
    reader = LogReader(str(path), follow=True)
    reader.look()
    for number in range(1, 100):
        writer.write("stdout", b"%d\n" % number)
    assert 0 < sum(pauses) <= 1.01  # once: the locked file has no name after that
    reader.close()
    del pauses[:]
    for number in range(100, 200):
        writer.write("stdout", b"%d\n" % number)
    assert not pauses
    writer.close()
