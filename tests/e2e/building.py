"""Contexts and builds for the tests of the builder."""

import os
from pathlib import Path

from tests.engines import Done, Engine, succeeded


class Context:
    """A directory to build from."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self.engine = engine
        self.path = path
        path.mkdir(exist_ok=True)

    def write(self, name: str, text: str | bytes, mode: int = 0o644) -> "Context":
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        os.chmod(path, mode)
        return self

    def dockerfile(self, text: str) -> "Context":
        return self.write("Dockerfile", text)

    def build(self, *flags: str, timeout: float = 90, env: dict[str, str] | None = None) -> Done:
        """With Rundlet's own command line, plain progress on standard error."""
        return self.engine.cli("build", "--progress=plain", *flags, str(self.path), timeout=timeout, env=env)

    def ok(self, *flags: str, env: dict[str, str] | None = None) -> str:
        """The progress of a build that succeeds."""
        done = self.build(*flags, env=env)
        succeeded(done)
        return done.stderr

    def classic(self, program: str, *flags: str) -> Done:
        """With an official command line and its classic builder."""
        command = [program, "build", *flags, str(self.path)]
        return self.engine.run_command(command, env={"DOCKER_BUILDKIT": "0"}, timeout=90)

    def run(self, *command: str, image: str = "t") -> str:
        return self.engine.ok("run", "--rm", image, *command)
