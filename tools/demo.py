"""``./dev demo``: a real image through a real registry into a running web server, each step with the time it took."""

import argparse
import contextlib
import http.client
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import images
from tools.images import UnavailableError
from tools.registry import free_port, running_registry

# A web server that needs nothing but what every Debian image has.
PERL_SERVER = r"""
$| = 1;
$server = IO::Socket::INET->new(LocalPort => 80, Listen => 5, ReuseAddr => 1) or die $!;
$SIG{TERM} = sub { print "stopping\n"; exit 0 };
print "listening on port 80\n";
while ($client = $server->accept) {
    $request = <$client>;
    $request =~ s/\s+$//;
    print "$request\n";
    open $file, "<", "/etc/debian_version"; chomp($version = <$file>);
    print $client "HTTP/1.0 200 OK\r\n\r\nHello from Debian $version in container $ENV{HOSTNAME}\n";
    close $client;
}
"""
PYTHON_SERVER = r"""
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"Hello from Python {sys.version.split()[0]} in container {os.environ['HOSTNAME']}\n".encode())
print("listening on port 80", flush=True)
http.server.ThreadingHTTPServer(("", 80), Page).serve_forever()
"""


class DemoError(Exception):
    """A step failed; the text is what the command said."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the image comes from: a tar file to import, or a name to pull; and what can be run from it."""

    description: str
    tar: Path | None
    greeting: tuple[str, ...]
    server: tuple[str, ...]


class Show:
    """Runs commands in front of the audience: the command, what it printed, how long it took."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._program = str(Path(sys.executable).parent / "rundlet")
        self.began = time.monotonic()

    def title(self, text: str) -> None:
        print(f"\n── {text} " + "─" * max(0, 76 - len(text)), flush=True)

    def run(self, *arguments: str, shown: str = "", lines: int = 8) -> str:
        command = shown or " ".join(shlex.quote(word) for word in arguments)
        start = time.monotonic()
        done = subprocess.run(
            [self._program, *arguments], env=self._environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        self._print(f"$ rundlet {command}", time.monotonic() - start)
        printed = (done.stdout + done.stderr).strip().splitlines()
        for line in printed[-lines:]:
            print(f"  {line}")
        if done.returncode != 0:
            raise DemoError(f"rundlet {command} ended with status {done.returncode}")
        return done.stdout.strip()

    def step(self, text: str, elapsed: float) -> None:
        self._print(text, elapsed)

    def _print(self, text: str, elapsed: float) -> None:
        print(f"{text:<68} {elapsed:8.3f} s", flush=True)


def reaches_docker_hub() -> bool:
    connection = http.client.HTTPSConnection("registry-1.docker.io", timeout=3)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in {200, 401}
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def choose_source() -> Source:
    """Raises: UnavailableError when not even an image of the running Python can be made."""
    perl = ("cat", "/etc/debian_version"), ("perl", "-MIO::Socket::INET", "-e", PERL_SERVER)
    python = ("python3", "-c", "import sys; print(sys.version)"), ("python3", "-c", PYTHON_SERVER)
    if reaches_docker_hub():
        return Source("debian, from Docker Hub", None, *perl)
    try:
        return Source("Debian 12, made here by mmdebstrap", images.debian_tar(), *perl)
    except UnavailableError as exc:
        print(f"no Debian image: {exc}; taking the running Python and its libraries instead")
    return Source("the running Python and its libraries", images.python_tar(), *python)


@contextlib.contextmanager
def private_engine() -> Iterator[dict[str, str]]:
    """An environment in which ``rundlet`` has an engine of its own: its first command starts it, the end removes it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "RUNDLET_"))}
    directory = Path(tempfile.mkdtemp(prefix="rundlet-demo-"))
    environment = kept | {"RUNDLET_ROOT": str(directory / "root"), "RUNDLET_RUN": str(directory / "run")}
    program = str(Path(sys.executable).parent / "rundlet")

    def quietly(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
        return done.stdout

    try:
        yield environment
    finally:
        if (directory / "run" / "rundlet.sock").exists():
            leftover = quietly("ps", "-aq").split()
            if leftover:
                quietly("rm", "-f", *leftover)
            quietly("engine", "stop")
        shutil.rmtree(directory, ignore_errors=True)


def through_the_registry(show: Show, image: str) -> None:
    try:
        with running_registry() as registry:
            name = f"{registry.address}/demo/app:1"
            show.title(f"Through a registry on {registry.address}")
            show.run("tag", image, name)
            show.run("push", name, lines=1)
            show.run("rmi", name, lines=1)
            show.run("rmi", image, lines=1)
            show.run("pull", name, lines=2)
            show.run("tag", name, image)
    except UnavailableError as exc:
        print(f"\nskipped: push and pull ({exc})")


def fetch(port: int) -> str:
    """The page, as soon as the server answers. Raises: DemoError."""
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode().strip()
        except (OSError, http.client.HTTPException) as exc:
            if time.monotonic() > deadline:
                raise DemoError(f"nothing answers on port {port}: {exc}") from exc
            time.sleep(0.01)
        finally:
            connection.close()


def web_server(show: Show, image: str, source: Source) -> None:
    show.title("A web server from it, in the background, on a published port")
    port = free_port()
    shown = f"run -d --name web -p {port}:80 {image} {' '.join(source.server[:2])} …"
    start = time.monotonic()
    show.run("run", "-d", "--name", "web", "-p", f"{port}:80", image, *source.server, shown=shown)
    page = fetch(port)
    show.step(f"http://127.0.0.1:{port}/ answers, since the command was typed", time.monotonic() - start)
    print(f"  {page}")
    show.run("ps")
    show.run("exec", "web", *source.greeting, lines=1)
    show.run("logs", "web")
    show.run("stats", "--no-stream", "--format", "table {{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.PIDs}}")
    show.run("stop", "web")
    show.run("rm", "web")


def demo() -> None:
    start = time.monotonic()
    source = choose_source()
    with private_engine() as environment:
        show = Show(environment)
        show.title(f"The image: {source.description}")
        if source.tar is not None:
            show.step("making it (kept for the next time)", time.monotonic() - start)
        show.run("version", "--format", "Rundlet {{(index .Server.Components 0).Version}}: the engine is up")
        image = "debian" if source.tar is None else "demo"
        if source.tar is None:
            show.run("pull", image, lines=2)
        else:
            show.run("import", str(source.tar), image, shown=f"import {source.tar.name} {image}")
        show.run("run", "--rm", image, *source.greeting, lines=3)
        through_the_registry(show, image)
        web_server(show, image, source)
        show.run("rmi", "-f", image, lines=1)
        show.title("Done")
        show.step("everything, and nothing is left behind", time.monotonic() - start)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    argparse.ArgumentParser(prog="./dev demo", description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, _interrupt)  # whatever ends it, its engine and registry go, too
    try:
        demo()
    except (DemoError, UnavailableError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
