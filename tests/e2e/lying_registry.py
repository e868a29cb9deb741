"""A registry that serves one image truthfully and the same image with one thing wrong, or with a hostile layer."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tools import images
from tools.images import add_directory, add_file, add_link

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

POISON = b"import os\nos.write(2, b'poisoned\\n')\nopen('/poisoned', 'w').close()\n"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        fill(archive)
    return buffer.getvalue()


class LyingRegistry:
    """``image(lie)`` and ``hostile(trick, marker)`` publish an image and return its name."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.blobs: dict[str, bytes] = {}
        self.announced: dict[str, int] = {}
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.agents: list[str] = []  # who asked
        self._base = images.busybox_tar().read_bytes()

    def image(self, lie: str) -> str:
        plain = tar_of(lambda archive: add_file(archive, "hello", b"hello"))
        layers = [self._base, plain]
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        diff_ids = [digest(layer) for layer in layers]
        served = blobs[1]
        if lie == "layer-broken-gzip":
            blobs[1] = served = blobs[1][: len(blobs[1]) // 2]
        elif lie == "layer-not-gzip":
            blobs[1] = served = b"this is not gzip, whatever the manifest says"
        elif lie == "layer-broken-tar":
            broken = b"x" * 1024 + plain
            blobs[1], diff_ids[1] = gzip.compress(broken, mtime=0), digest(broken)
            served = blobs[1]
        elif lie == "layer-wrong-diff-id":
            diff_ids[1] = digest(b"something else")
        elif lie == "layer-content":
            served = gzip.compress(tar_of(lambda archive: add_file(archive, "hello", b"hollo")), 1, mtime=0)
            served = served[: len(blobs[1])].ljust(len(blobs[1]), b"\0")
        elif lie == "layer-truncated":
            served = blobs[1][:-20]
        elif lie == "layer-longer":
            served = blobs[1] + b"and something more"
        return self._publish(lie, diff_ids, blobs, last=served)

    def hostile(self, trick: str, marker: str) -> str:
        depth = "../" * 30 + marker.lstrip("/")

        def fill(archive: tarfile.TarFile) -> None:
            if trick == "parent-directory":
                add_file(archive, depth, b"escaped")
            elif trick == "absolute-name":
                add_file(archive, marker, b"escaped")
            elif trick == "symlink-then-file":
                add_link(archive, "way-out", "/tmp")
                add_file(archive, "way-out/" + marker.rpartition("/")[2], b"escaped")
                add_link(archive, "up", "../" * 30 + "tmp")
                add_file(archive, "up/" + marker.rpartition("/")[2], b"escaped")
            elif trick == "hardlink-outside":
                _special(archive, "linked", tarfile.LNKTYPE, "../" * 30 + "etc/passwd")
                add_file(archive, "linked", b"overwritten")
            elif trick == "device-node":
                _special(archive, "disk", tarfile.BLKTYPE, "", (8, 0))
            elif trick == "whiteout-outside":
                add_file(archive, "../../../etc/.wh.passwd", b"")
                add_link(archive, "etc-link", "/etc")
                add_file(archive, "etc-link/.wh.passwd", b"")

        layer = tar_of(fill)
        blob = gzip.compress(layer, 1, mtime=0)
        base = gzip.compress(self._base, 1, mtime=0)
        return self._publish(trick, [digest(self._base), digest(layer)], [base, blob], last=blob)

    def poisoned(self) -> str:
        """Python modules and name service libraries wherever a careless process might look for them."""

        def fill(archive: tarfile.TarFile) -> None:
            names = (
                "idna",
                "traceback",
                "pwd",
                "grp",
                "encodings/__init__",
                "encodings/idna",
                "os",
                "site",
                "_locale",
                "json",
            )
            for version in ("3.11", "3.12", "3.13", "3.14"):
                for prefix in (f"usr/lib/python{version}", f"usr/local/lib/python{version}",
                               f"root/.pyenv/versions/{version}/lib/python{version}"):  # fmt: skip
                    for name in names:
                        add_file(archive, f"{prefix}/{name}.py", POISON)
            for name in names:
                add_file(archive, f"poison/{name}.py", POISON)
                add_file(archive, f"{name}.py", POISON)
            for library in ("libnss_files.so.2", "libnss_compat.so.2", "libnss_dns.so.2"):
                for directory in ("lib", "lib64", "usr/lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"):
                    add_file(archive, f"{directory}/{library}", b"\x7fELF poisoned", 0o755)
            add_directory(archive, "etc")
            add_file(archive, "etc/nsswitch.conf", b"passwd: files compat\ngroup: files compat\nhosts: files dns\n")

        layer = tar_of(fill)
        blob = gzip.compress(layer, 1, mtime=0)
        base = gzip.compress(self._base, 1, mtime=0)
        return self._publish("poisoned", [digest(self._base), digest(layer)], [base, blob], last=blob)

    def _publish(self, name: str, diff_ids: list[str], blobs: list[bytes], *, last: bytes) -> str:
        config = json.dumps({
            "architecture": _architecture(), "os": "linux", "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }).encode()  # fmt: skip
        descriptors = [{"mediaType": LAYER, "digest": digest(blob), "size": len(blob)} for blob in blobs]
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": descriptors,
            "config": {"mediaType": CONFIG, "digest": digest(config), "size": len(config)},
        }).encode()  # fmt: skip
        for blob in blobs[:-1]:
            self.blobs[digest(blob)] = blob
        self.blobs[digest(blobs[-1])] = last
        self.blobs[digest(config)] = config if name != "config-content" else config.replace(b"linux", b"linus")
        announced = digest(manifest)
        if name == "manifest-nonsense":
            manifest = b"<html>welcome to the hotel network</html>"
        elif name == "manifest-digest":
            announced = digest(b"another manifest")
        repository = f"lies/{name}"
        tag = "latest"
        self.manifests[repository, tag] = (manifest, announced)
        self.manifests[repository, announced] = (manifest, announced)
        if name == "manifest-digest":
            return f"{self.address}/{repository}@{announced}"
        return f"{self.address}/{repository}:{tag}"


def _architecture() -> str:
    import platform

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _special(archive: tarfile.TarFile, name: str, kind: bytes, target: str, device: tuple[int, int] = (0, 0)) -> None:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    member.devmajor, member.devminor = device
    archive.addfile(member)


def _handler(registry: LyingRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            registry.agents.append(self.headers["User-Agent"])
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts in (["v2"], [""]):
                self._send(200, b"{}", {"Content-Type": "application/json"}, body)
                return
            repository, kind, what = "/".join(parts[1:-2]), parts[-2], parts[-1]
            if kind == "manifests" and (repository, what) in registry.manifests:
                data, announced = registry.manifests[repository, what]
                self._send(200, data, {"Content-Type": MANIFEST, "Docker-Content-Digest": announced}, body)
            elif kind == "blobs" and what in registry.blobs:
                self._send(200, registry.blobs[what], {"Content-Type": "application/octet-stream"}, body)
            else:
                error = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()
                self._send(404, error, {"Content-Type": "application/json"}, body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    return Handler


@contextlib.contextmanager
def lying_registry() -> Iterator[LyingRegistry]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    registry = LyingRegistry(f"127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = _handler(registry)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
