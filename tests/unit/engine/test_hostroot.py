"""Which file systems of the machine a container on its root gets to see, and how."""

from pathlib import Path

from rundlet.engine.containers import hostroot


def line(place: str, kind: str, options: str = "rw,relatime") -> str:
    return f"30 1 8:1 / {place} {options} shared:1 - {kind} /dev/x rw\n"


def test_each_kind_of_file_system_in_its_own_way(tmp_path: Path) -> None:
    for name in ("home", "home/deep", "usr", "run", "run/user", "proc", "mnt/fuse", "var/engine/x", "other place"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "run").chmod(0o750)
    (tmp_path / "file").touch()
    top = str(tmp_path)
    lines = [
        line("/", "ext4"),
        line(top, "ext4"),
        line(f"{top}/home/deep", "xfs"),
        line(f"{top}/home", "btrfs"),
        line(f"{top}/usr", "erofs", "ro,relatime"),
        line(f"{top}/run", "tmpfs"),
        line(f"{top}/run/user", "ext4"),
        line(f"{top}/proc", "proc"),
        line(f"{top}/proc/sys/fs/binfmt_misc", "ext4"),
        line(f"{top}/mnt/fuse", "overlay"),
        line(f"{top}/var/engine/x", "ext4"),
        line(f"{top}/other\\040place", "ext4"),
        line(f"{top}/file", "ext4"),
        line(f"{top}-beside", "ext4"),
    ]
    found = hostroot.arrange(top, [f"{top}/var/engine", "/elsewhere"], lines)
    assert found.path == top
    assert found.below[-1] == "/home/deep"  # outer ones first
    assert set(found.below) == {"/home", "/home/deep", "/other place"}
    assert found.readonly == ["/usr"]
    assert found.tmpfs == {"/run": "mode=750"}
    assert found.hidden == ["/var/engine"]


def test_what_is_mounted_on_top_counts(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    lines = [line(f"{tmp_path}/a", "ext4"), line(f"{tmp_path}/a", "tmpfs")]
    found = hostroot.arrange(str(tmp_path), [], lines)
    assert (found.below, list(found.tmpfs)) == ([], ["/a"])


def test_the_machines_own_root() -> None:
    found = hostroot.arrange(
        "/", ["/var/lib/rundlet"], [line("/", "ext4"), line("/proc", "proc"), line("/usr", "ext4")]
    )
    assert (found.below, found.hidden) == (["/usr"], ["/var/lib/rundlet"])
