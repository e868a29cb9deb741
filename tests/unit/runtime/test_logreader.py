"""Reading logs: the last lines, rotation, and where to stop."""

import json
from pathlib import Path

from rundlet.runtime import logreader
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
    assert [name.rpartition("/")[2] for name in logreader.rotated(path)] == ["log.2", "log.1"]
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


def test_a_cut_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(line("a") + '{"log":"hal\n' + line("b"))
    assert texts(LogReader(str(path))) == ["a", "b"]
