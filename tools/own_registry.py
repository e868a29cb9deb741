"""Rundlet's own registry on a free loopback port, for as long as a ``with`` block."""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"


class OwnRegistry:
    """The process; ``address`` is ``127.0.0.1:PORT``. Raises AssertionError with its output when it does not start."""

    def __init__(self, root: Path, flags: Sequence[str] = ()) -> None:
        self.root = root
        self._flags = list(flags)
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        """Again, on the port that it had."""
        self.root.mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "rundlet.registry.server", "--addr", self.address, "--root", str(self.root)]
        log = self.root.parent / f"{self.root.name}.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--ready-fd", str(writer), *self._flags],
                pass_fds=[writer],
                stdout=output,
                stderr=output,
                env=dict(os.environ, PYTHONPATH=str(SOURCE)),
            )
        os.close(writer)
        try:
            ready, _, _ = select.select([reader], [], [], 20)
            answer = os.read(reader, 200).decode().split() if ready else []
        finally:
            os.close(reader)
        if answer[:1] != ["ok"]:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the registry did not start: {log.read_text()[-2000:]}")
        self.address = answer[1]

    def kill(self) -> None:
        """SIGKILL, as by a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@contextlib.contextmanager
def own_registry(root: Path, *flags: str) -> Iterator[OwnRegistry]:
    running = OwnRegistry(root, flags)
    try:
        yield running
    finally:
        running.stop()
