"""Classes of caches and of memory bandwidth, in a directory that looks like resctrl."""

from pathlib import Path

import pytest

from rundlet.runtime.command import resctrl
from rundlet.runtime.command.errors import CommandError

LINE = "22 20 0:21 / {} rw - {} {} rw\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mon_groups").mkdir()
    (tmp_path / "schemata").write_text("    L3:0=fff;1=fff\n    MB:0=100;1=100\n")
    return tmp_path


def emptied(root: Path, *made: str) -> None:
    """The kernel removes such directories with what it shows in them."""
    for directory in made:
        for file in Path(directory).iterdir():
            if file.is_file():
                file.unlink()
    resctrl.remove(made)


def test_where_it_is(tmp_path: Path) -> None:
    info = tmp_path / "mountinfo"
    info.write_text(LINE.format("/sys", "sysfs", "sysfs") + LINE.format("/sys/fs/resctrl", "resctrl", "resctrl"))
    assert resctrl.mounted(str(info)) == "/sys/fs/resctrl"
    info.write_text(LINE.format("/sys", "sysfs", "resctrl"))
    with pytest.raises(CommandError, match="Intel RDT is not enabled"):
        resctrl.mounted(str(info))


def test_class_of_its_own(root: Path) -> None:
    wanted = {"l3CacheSchema": "L3:0=f0", "memBwSchema": "MB:0=20"}
    found = resctrl.create(wanted, "box", str(root))
    assert found == ((f"{root}/box",), (f"{root}/box",))
    assert (root / "box/schemata").read_text() == "MB:0=20\n"  # one line at a time, the last one here
    emptied(root, *found.made)
    assert not (root / "box").exists()


def test_newer_list_replaces_the_older_words(root: Path) -> None:
    resctrl.create({"l3CacheSchema": "L3:0=f0", "schemata": ["L2:0=1"]}, "box", str(root))
    assert (root / "box/schemata").read_text() == "L2:0=1\n"


def test_class_of_others_is_joined_and_stays(root: Path) -> None:
    (root / "gold").mkdir()
    (root / "gold/schemata").write_text("L3:0=00f;1=fff\n")
    found = resctrl.create({"closID": "gold"}, "box", str(root))
    assert found == ((f"{root}/gold",), ())
    assert resctrl.create({"closID": "gold", "l3CacheSchema": "L3:0=f"}, "box", str(root)) == found
    with pytest.raises(CommandError, match="its schemata are others"):
        resctrl.create({"closID": "gold", "l3CacheSchema": "L3:0=ff"}, "box", str(root))
    with pytest.raises(CommandError, match="there is no such class of service"):
        resctrl.create({"closID": "silver"}, "box", str(root))


def test_counting(root: Path) -> None:
    found = resctrl.create({"closID": "/", "enableMonitoring": True}, "box", str(root))
    assert found == ((str(root), f"{root}/mon_groups/box"), (f"{root}/mon_groups/box",))
    with pytest.raises(FileNotFoundError):  # as long as the kernel makes no such file
        found.join_fds()
    resctrl.remove(found.made)
    assert (root / "mon_groups").is_dir()


def test_nothing_is_left_of_what_the_kernel_refuses(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "info").mkdir()
    (root / "info/last_cmd_status").write_text("Unknown or unsupported resource name 'L9'\n")

    def refuse(path: str, text: str) -> None:
        raise OSError(22, "Invalid argument", path)

    monkeypatch.setattr(resctrl, "_write", refuse)
    with pytest.raises(CommandError, match="unsupported resource name 'L9'"):
        resctrl.create({"schemata": ["L9:0=1"]}, "box", str(root))
    assert not (root / "box").exists()


@pytest.mark.parametrize(
    "wanted", [{"closID": ".."}, {"closID": "a/b"}, {"memBwSchema": "x"}, {"schemata": ["L3:a\nb"]}]
)
def test_what_makes_no_sense(wanted: dict[str, object]) -> None:
    with pytest.raises(CommandError, match="invalid intelRdt"):
        resctrl.check({"intelRdt": wanted})
