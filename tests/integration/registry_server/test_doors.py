"""Who may come in: htpasswd and TLS; and the pull-through cache."""

import base64
import hashlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.registry_server.test_protocol import MANIFEST, Client, digest
from tools.own_registry import SOURCE, OwnRegistry, own_registry

from rundlet.registry.server.auth import Htpasswd, HtpasswdError
from rundlet.registry.server.errors import UnauthorizedError
from rundlet.registry.server.listing import REFERRERS_PAGE

ANN = "ann:$2y$04$0IqPMse013SgHW6CugLVreE3i1U31eKYNzqPQR36dJ0/bDM/5AOBm\n"
PASSWORD = "correct horse"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ── htpasswd ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    pytest.importorskip("bcrypt")
    path = tmp_path / "htpasswd"
    path.write_text(f"# users\n\n{ANN}")
    return path


def test_only_users_come_in(tmp_path: Path, htpasswd: Path) -> None:
    with own_registry(tmp_path / "root", "--htpasswd", str(htpasswd)) as running:
        client = Client(running)
        refused = client("GET", "/v2/")
        assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
        assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
        assert client("GET", "/v2/_catalog", Authorization=basic("ann", PASSWORD)).status == 200
        for user, password in (("ann", "wrong"), ("bob", PASSWORD), ("ann", "")):
            assert client("GET", "/v2/_catalog", Authorization=basic(user, password)).status == 401
        for nonsense in ("Bearer x", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode()):
            assert client("POST", "/v2/x/blobs/uploads/", Authorization=nonsense).status == 401


async def test_the_file_is_read_again(htpasswd: Path) -> None:
    users = Htpasswd(str(htpasswd))
    assert await users.require(basic("ann", PASSWORD)) == "ann"
    assert await users.require(basic("ann", PASSWORD)) == "ann"
    htpasswd.write_text("ann:now this is nonsense\n")
    with pytest.raises(UnauthorizedError):
        await users.require(basic("ann", PASSWORD))
    htpasswd.write_text(ANN.replace("ann", "eve"))
    assert await users.require(basic("eve", PASSWORD)) == "eve"
    with pytest.raises(UnauthorizedError):
        await users.require(basic("ann", PASSWORD))
    htpasswd.unlink()
    with pytest.raises(UnauthorizedError):
        await users.require(basic("eve", PASSWORD))


@pytest.mark.parametrize("line", ["ann:$apr1$x$y", "ann:{SHA}xxx", "ann:plain", "nonsense", ":$2y$04$x"])
def test_files_that_are_refused(htpasswd: Path, line: str) -> None:
    htpasswd.write_text(ANN + line + "\n")
    with pytest.raises(HtpasswdError, match="line 2"):
        Htpasswd(str(htpasswd))


def test_without_bcrypt_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    path = tmp_path / "htpasswd"
    path.write_text(ANN)
    with pytest.raises(HtpasswdError, match=r"pip install 'rundlet\[registry\]'"):
        Htpasswd(str(path))


# ── TLS, and settings that are none ──────────────────────────────────────────────────────────────────────────


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost "
            f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
        ).split(),
        check=True,
        capture_output=True,
    )
    with own_registry(tmp_path / "root", "--tls-cert", str(certificate), "--tls-key", str(key)) as running:
        done = subprocess.run(
            ["curl", "-sS", "--cacert", str(certificate), f"https://{running.address}/v2/"],
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"{}"


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--tls-cert", "x"], "belong together"),
        (["--tls-cert", "/no/cert", "--tls-key", "/no/key"], "/no/cert"),
        (["--addr", "nonsense"], "it is not HOST:PORT"),
        (["--addr", "192.0.2.1:1"], "cannot listen on 192.0.2.1:1"),
        (["--mirror-of", "ftp://x"], "is not the URL of a registry"),
        (["--mirror-of", "https://u:p@x"], "is not the URL of a registry"),
    ],
)
def test_settings_that_are_refused(tmp_path: Path, flags: list[str], says: str) -> None:
    command = [sys.executable, "-m", "rundlet", "registry", "serve", "--root", str(tmp_path / "root"), *flags]
    environment = dict(os.environ, PYTHONPATH=str(SOURCE))
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path / "upstream") as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path, upstream: OwnRegistry) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path / "cache", "--mirror-of", f"http://{upstream.address}") as running:
        yield running


def test_what_is_fetched_is_kept(upstream: OwnRegistry, cache: OwnRegistry) -> None:
    layer = os.urandom(5_000_000)
    image = Client(upstream).push_manifest("library/app", "1", layer)
    client = Client(cache)
    got = client("GET", "/v2/library/app/manifests/1")
    assert (got.status, got.headers["Content-Type"], digest(got.body)) == (200, MANIFEST, image)
    head = client("HEAD", f"/v2/library/app/blobs/{digest(layer)}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(layer)))
    part = client("GET", f"/v2/library/app/blobs/{digest(layer)}", Range="bytes=1000-1999")
    assert (part.status, part.body) == (206, layer[1000:2000])
    assert client("GET", f"/v2/library/app/blobs/{digest(layer)}").body == layer
    assert client("GET", f"/v2/library/app/blobs/{digest(b'{}')}").body == b"{}"
    newer = Client(upstream).push_manifest("library/app", "1", b"newer")
    assert client("HEAD", "/v2/library/app/manifests/1").headers["Docker-Content-Digest"] == newer
    upstream.stop()
    assert client("GET", "/v2/library/app/manifests/1").headers["Docker-Content-Digest"] == newer
    assert client("GET", f"/v2/library/app/manifests/{image}").body == got.body
    assert client("GET", f"/v2/library/app/blobs/{digest(layer)}").body == layer
    lost = client("GET", f"/v2/library/app/blobs/{digest(b'newer')}")
    assert lost.status == 502
    assert client("GET", "/v2/library/other/manifests/1").status == 502
    assert client("POST", "/v2/library/app/blobs/uploads/").code == "UNSUPPORTED"
    assert client("DELETE", f"/v2/library/app/manifests/{image}").code == "UNSUPPORTED"


def test_lists_of_a_cache_are_upstreams(upstream: OwnRegistry, cache: OwnRegistry) -> None:
    """A cache that lists only what it holds would say that an image has no signature."""
    pusher, client = Client(upstream), Client(cache)
    image = pusher.push_manifest("library/signed", "v1", b"layer")
    subject = {"mediaType": MANIFEST, "digest": image, "size": 1}
    # More than one page of what the registry lists.
    made = {
        pusher.push_manifest("library/signed", f"about-{number}", subject=subject, annotations={"number": str(number)})
        for number in range(REFERRERS_PAGE + 1)
    }
    other = pusher.push_manifest("library/signed", "other", subject=subject, artifactType="application/x.sbom")
    first = client("GET", f"/v2/library/signed/referrers/{image}")
    rest = client("GET", first.headers["Link"].partition("<")[2].partition(">")[0])
    found = [item["digest"] for page in (first, rest) for item in page.json["manifests"]]
    assert (found, rest.headers.get("Link")) == (sorted({*made, other}), None)
    chosen = client("GET", f"/v2/library/signed/referrers/{image}?artifactType=application/x.sbom").json["manifests"]
    assert [item["digest"] for item in chosen] == [other]
    nobody = client("GET", f"/v2/library/signed/referrers/{digest(b'nobody')}")
    assert (nobody.status, nobody.json["manifests"]) == (200, [])
    assert client("GET", "/v2/library/signed/tags/list?n=2&last=other").json["tags"] == ["v1"]
    assert client("GET", "/v2/library/no/tags/list").code == "NAME_UNKNOWN"
    assert client("GET", "/v2/library/signed/manifests/v1").status == 200
    upstream.stop()
    assert client("GET", "/v2/library/signed/tags/list").json["tags"] == ["v1"]
    assert client("GET", f"/v2/library/signed/referrers/{image}").json["manifests"] == []
    assert client("GET", "/v2/library/no/tags/list").status == 502


def test_what_upstream_has_not(upstream: OwnRegistry, cache: OwnRegistry) -> None:
    client = Client(cache)
    assert client("GET", "/v2/library/no/manifests/1").code == "MANIFEST_UNKNOWN"
    Client(upstream).push_blob("library/app", b"in no manifest")
    assert client("GET", f"/v2/library/app/blobs/{digest(b'in no manifest')}").code == "BLOB_UNKNOWN"


def test_upstream_that_lies(upstream: OwnRegistry, cache: OwnRegistry) -> None:
    layer = os.urandom(2_000_000)
    Client(upstream).push_manifest("library/lie", "1", layer)
    path = upstream.root / "blobs" / "sha256" / hashlib.sha256(layer).hexdigest()
    path.chmod(0o600)
    path.write_bytes(layer[:-1] + bytes([layer[-1] ^ 1]))
    client = Client(cache)
    manifest = json.loads(client("GET", "/v2/library/lie/manifests/1").body)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        client("GET", f"/v2/library/lie/blobs/{manifest['layers'][0]['digest']}")
    assert not (cache.root / "blobs" / "sha256" / hashlib.sha256(layer).hexdigest()).exists()
    assert not os.listdir(cache.root / "uploads")
