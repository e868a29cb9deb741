"""What a machine may refuse an ordinary user: user namespaces, overlayfs, a data root that is root's."""

import json
import os
import subprocess
from pathlib import Path

from tests.rootless import Person, UserEngine

from rundlet.linux import mount

# In a user namespace of its own the limit is this test's alone: the machine's other users go on as they were.
FORBIDDEN = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    import ctypes
    assert ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    os.chdir("/")
    os.execv(sys.argv[3], sys.argv[3:])
os.close(ready[1])
os.read(ready[0], 1)
for name, own in (("uid_map", uid), ("gid_map", gid)):
    with open(f"/proc/{child}/{name}", "w") as file:
        file.write(f"0 0 1\\n{own} {own} 1\\n")
os.write(go[1], b"x")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_forbidden_user_namespaces_are_one_line_with_the_remedy(person: Person) -> None:
    engine = UserEngine(person, ())

    def rundlet(*arguments: str) -> "subprocess.CompletedProcess[str]":
        inside = [person.python, "-m", "rundlet", *arguments]
        return subprocess.run(
            [person.python, "-c", FORBIDDEN, str(person.uid), str(person.gid), *inside],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            env=engine.environment,
        )

    refused = rundlet("ps")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "user namespaces are forbidden here (user.max_user_namespaces is 0)" in refused.stderr
    assert "sysctl user.max_user_namespaces=15000" in refused.stderr
    report = rundlet("system", "doctor", "--json")
    assert report.returncode == 1, report.stderr
    found = {item["name"]: item for item in json.loads(report.stdout)}["user namespaces"]
    assert found["state"] == "missing"
    assert found["remedy"] == "as root: sysctl user.max_user_namespaces=15000"


def test_where_overlayfs_cannot_write_containers_are_copies(person: Person, busybox_tar: Path) -> None:
    engine = UserEngine(person, ())
    parts = [person.directory / name for name in ("lower", "upper", "work", "layered")]
    for part in parts:
        part.mkdir()
        os.chown(part, person.uid, person.gid)
    lower, upper, work, place = parts
    layers = mount.overlay([str(lower)], str(upper), str(work))
    mount.attach(layers, str(place))
    try:
        engine.environment["RUNDLET_ROOT"] = str(place / "root")
        engine.start()
        try:
            engine.ok("import", "-", "box", stdin=busybox_tar.read_bytes())
            assert engine.ok("info", "-f", "{{.Driver}}") == "vfs"
            engine.ok("run", "--name", "copied", "box", "sh", "-c", "echo new >/new; rm /bin/vi")
            assert sorted(engine.ok("diff", "copied").splitlines()) == ["A /new", "C /bin", "D /bin/vi"]
            engine.ok("commit", "copied", "less")
            engine.ok("save", "-o", str(engine.base / "less.tar"), "less")
            engine.ok("rm", "copied")
            engine.ok("rmi", "less")
            engine.ok("load", "-q", "-i", str(engine.base / "less.tar"))  # a layer that removes a file is unpacked
            assert engine.ok("run", "--rm", "less", "sh", "-c", "ls /bin/vi 2>/dev/null; cat /new") == "new"
            engine.ok("rmi", "less")
            report = json.loads(engine.cli("system", "doctor", "--json").stdout)
            overlay = next(item for item in report if item["name"] == "overlay")
            assert overlay["state"] == "degraded"
            assert "RUNDLET_ROOT" in overlay["remedy"]
        finally:
            engine.stop()
    finally:
        mount.umount(str(place), mount.MNT_DETACH)


def test_a_user_does_not_take_over_roots_data_root(person: Person) -> None:
    engine = UserEngine(person, ())
    root = engine.base / "roots"
    root.mkdir(mode=0o711)
    engine.environment["RUNDLET_ROOT"] = str(root)
    (root / "engine.lock").touch()
    refused = engine.cli("version")
    assert refused.returncode == 1
    assert "belongs to the engine of another user (uid 0): use sudo rundlet, if it is root's" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert os.stat(root).st_uid == 0
