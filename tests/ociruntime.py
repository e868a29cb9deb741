"""``rundlet-runtime`` with a bundle of its own, as containerd and podman call it."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import leaks
from tests.engines import SOURCE, Done, succeeded


def write_program(path: Path) -> None:
    """The command as one file, like the installed one."""
    lines = [f"#!{sys.executable}", "import sys", f"sys.path.insert(0, {str(SOURCE)!r})"]
    lines += ["from rundlet.runtime.command.entry import script", "script()"]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o755)


class Runtime:
    """The command line with its own state directory, and one bundle."""

    def __init__(self, program: Path, rootfs: Path, directory: Path) -> None:
        self.program = program
        self.directory = directory
        self.state_root = directory / "state"
        self.parent = f"/rl-oci-{secrets.token_hex(4)}"
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        shutil.copytree(rootfs, self.bundle / "rootfs", symlinks=True)
        self.ok("spec", "--bundle", str(self.bundle))
        self.config: dict[str, Any] = json.loads((self.bundle / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False
        self.name = f"box-{secrets.token_hex(3)}"
        self.config["linux"]["cgroupsPath"] = f"{self.parent}/{self.name}"

    def __call__(self, *arguments: str, **more: Any) -> Done:
        command = [str(self.program), "--root", str(self.state_root), *arguments]
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)

    def ok(self, *arguments: str, **more: Any) -> str:
        return succeeded(self(*arguments, **more))

    def write(self, script: str = "", **process: Any) -> None:
        """The bundle's configuration, for a shell script or for other properties of the process."""
        if script:
            process["args"] = ["sh", "-c", script]
        self.config["process"].update(process)
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def create(self, *flags: str) -> Done:
        """Its standard streams are files: a pipe would be held open by the waiting container."""
        with (self.directory / "out").open("ab") as out:
            command = [str(self.program), "--root", str(self.state_root), "create", "--bundle", str(self.bundle)]
            done = subprocess.run(
                [*command, *flags, self.name], stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=False
            )
        return Done(done.args, done.returncode, "", self.output())

    def output(self) -> str:
        return (self.directory / "out").read_text()

    def status(self) -> str:
        return str(json.loads(self.ok("state", self.name))["status"])

    def groups(self) -> list[str]:
        return [group for group in leaks.cgroups() if self.parent in group]

    def clean_up(self) -> None:
        """Nothing of it may be left."""
        self("delete", "--force", self.name)
        left = [group for group in self.groups() if not group.endswith(self.parent)]
        for group in self.groups():
            os.rmdir(group)
        assert not left
        assert not list(self.state_root.glob("[!.]*"))
        assert not [item for item in leaks.mounts() if str(self.directory) in item]
