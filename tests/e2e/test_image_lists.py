"""``images --tree``, ``image layers`` and ``image diff``."""

from tests.e2e.conftest import Client
from tests.engines import Engine


def test_the_tree_names_the_platform(client: Client, engine: Engine) -> None:
    if client.older:
        return
    lines = client.ok("images", "--tree").splitlines()
    position = next(number for number, line in enumerate(lines) if line.strip().startswith("busybox:latest"))
    assert any("linux/amd64" in line or "linux/arm64" in line for line in lines[position + 1 : position + 3]), lines


def test_several_bounds_of_time_all_hold(engine: Engine) -> None:
    engine.ok("create", "--name", "dated", "busybox", "true")
    times = []
    for number in range(4):
        engine.ok("commit", "dated", f"dated:{number}")
        times.append(engine.ok("image", "inspect", "--format", "{{.Created}}", f"dated:{number}"))
    bounds = [word for time in times[2:0:-1] for word in ("--filter", f"until={time}")]
    found = engine.ok("images", "--format", "{{.Tag}}", "--filter", "reference=dated", *bounds)
    assert found == "0"
    engine.ok("rm", "dated")
    engine.ok("rmi", *(f"dated:{number}" for number in range(4)))


def test_layers_and_their_waste(engine: Engine) -> None:
    engine.ok(
        "run",
        "--name",
        "base",
        "busybox",
        "sh",
        "-c",
        "dd if=/dev/zero of=/big bs=1000 count=50; mkdir /d; echo 1 > /d/f",
    )
    engine.ok("commit", "base", "layered:1")
    engine.ok(
        "run", "--name", "top", "layered:1", "sh", "-c", "rm -r /big /d; mkdir /d; echo 22 > /d/g; echo x > /etc/added"
    )
    engine.ok("commit", "top", "layered:2")
    try:
        lines = engine.ok("image", "layers", "layered:2").splitlines()
        assert lines[0].split() == "LAYER CREATED BY SIZE ADDED CHANGED DELETED WASTED".split()
        assert lines[3].split()[-1] == "50kB"
        assert "wasted" in lines[-1]
        files = engine.ok("image", "layers", "--files", "layered:2")
        assert "D       0B  /big  (hides 50kB)" in files
        assert engine.ok("image", "diff", "layered:1", "layered:2").splitlines() == [
            "D /big",
            "D /d/f",
            "A /d/g",
            "A /etc/added",
        ]
        assert engine.ok("image", "diff", "layered:2", "layered:2") == ""
        assert engine.ok("image", "layers", "--format", "{{.Deleted}}", "layered:2").splitlines()[-1] == "2"
        done = engine.cli("image", "diff", "layered:1", "no/such")
        assert (done.returncode, "No such image: no/such" in done.stderr) == (1, True)
    finally:
        engine.cli("rm", "base", "top")
        engine.cli("rmi", "layered:2", "layered:1")


def test_a_tree_s_sizes_add_up(engine: Engine) -> None:
    """An image takes of the disk what its platforms take, each with what travels and what it is unpacked to."""
    rows = [line.split() for line in engine.ok("images", "--tree").splitlines()]
    image = next(row for row in rows if row[0] == "busybox:latest")
    platform = rows[rows.index(image) + 1]
    assert platform[0] == "└─"
    assert image[2:4] == platform[3:5]
    assert image[2] != image[3]
