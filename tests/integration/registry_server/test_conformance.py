"""The four workflows of the distribution-spec (push, pull, discovery, management), each with every kind of content.

What is asked is what the specification's conformance suite asks of a registry, its development version included. It
is asked of a registry that is open and of one behind TLS and a password.
"""

import base64
import hashlib
import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from tests.certificates import certificate
from tests.integration.registry_server.test_protocol import CONFIG, INDEX, LAYER, MANIFEST, Answer, Client
from tools.own_registry import OwnRegistry, own_registry

USER = "ann:$2y$04$0IqPMse013SgHW6CugLVreE3i1U31eKYNzqPQR36dJ0/bDM/5AOBm\n"
LOGIN = "Basic " + base64.b64encode(b"ann:correct horse").decode()
EMPTY = "application/vnd.oci.empty.v1+json"
ARTIFACT = "application/vnd.example.artifact"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
REPOSITORY, OTHER = "conformance/repo1", "conformance/repo2"
CHUNK = 1024


class ClosedClient(Client):
    """Speaks TLS, and says who it is."""

    def __init__(self, registry: OwnRegistry, trusting: ssl.SSLContext) -> None:
        super().__init__(registry)
        self._trusting = trusting

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPSConnection(self.registry.address, timeout=20, context=self._trusting)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Authorization": LOGIN, **named})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())  # type: ignore[arg-type]
        finally:
            connection.close()


@pytest.fixture(scope="module", params=["open", "closed"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("conformance")
    if request.param == "open":
        with own_registry(directory / "root") as running:
            yield Client(running)
        return
    pytest.importorskip("bcrypt")
    _, trusting = certificate(directory)
    (directory / "users").write_text(USER)
    tls = ("--tls-cert", str(directory / "cert.pem"), "--tls-key", str(directory / "key.pem"))
    with own_registry(directory / "root", *tls, "--htpasswd", str(directory / "users")) as running:
        yield ClosedClient(running, trusting)


def sum_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def bytes_of(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


# ── blobs ────────────────────────────────────────────────────────────────────────────────────────────────────


def begin(client: Client, query: str = "") -> str:
    begun = client("POST", f"/v2/{REPOSITORY}/blobs/uploads/{query}", Content_Length="0")
    assert begun.status == 202
    return begun.headers["Location"]


def at_once(client: Client, data: bytes, name: str) -> Answer:
    return client("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={name}", data)


def post_and_put(client: Client, data: bytes, name: str) -> Answer:
    return client("PUT", f"{begin(client)}?digest={name}", data)


def with_its_algorithm(client: Client, data: bytes, name: str) -> Answer:
    location = begin(client, f"?digest-algorithm={name.partition(':')[0]}")
    return client("PUT", f"{location}?digest={name}", data)


def streamed(client: Client, data: bytes, name: str) -> Answer:
    sent = client("PATCH", begin(client), data)
    assert sent.status == 202
    return client("PUT", f"{sent.headers['Location']}?digest={name}", b"", Content_Length="0")


def in_chunks(client: Client, data: bytes, name: str, *, put_last: bool = False, disorder: bool = False) -> Answer:
    location = begin(client)
    for start in range(0, len(data), CHUNK):
        if disorder and len(data) > CHUNK:
            location = out_of_order(client, location, data, start, name if put_last else "")
        part = data[start : start + CHUNK]
        where = f"{start}-{start + len(part) - 1}"
        if put_last and start + CHUNK >= len(data):
            return client("PUT", f"{location}?digest={name}", part, Content_Range=where)
        sent = client("PATCH", location, part, Content_Range=where)
        assert (sent.status, sent.headers["Range"]) == (202, f"0-{start + len(part) - 1}")
        location = sent.headers["Location"]
    return client("PUT", f"{location}?digest={name}", b"", Content_Length="0")


def out_of_order(client: Client, location: str, data: bytes, start: int, name: str) -> str:
    """A chunk that is not due is refused; asking where the upload stands finds the place again."""
    wrong = start + CHUNK if start + CHUNK < len(data) else 0
    part = data[wrong : wrong + CHUNK]
    last = name and wrong + CHUNK >= len(data)
    method, path = ("PUT", f"{location}?digest={name}") if last else ("PATCH", location)
    refused = client(method, path, part, Content_Range=f"{wrong}-{wrong + len(part) - 1}")
    assert (refused.status, refused.code) == (416, "RANGE_INVALID")
    stands = client("GET", refused.headers["Location"])
    assert (stands.status, stands.headers["Range"]) == (204, f"0-{max(start - 1, 0)}")
    return stands.headers["Location"]


def chunks_and_put(client: Client, data: bytes, name: str) -> Answer:
    return in_chunks(client, data, name, put_last=True)


def chunks_in_disorder(client: Client, data: bytes, name: str) -> Answer:
    return in_chunks(client, data, name, disorder=True)


def chunks_in_disorder_and_put(client: Client, data: bytes, name: str) -> Answer:
    return in_chunks(client, data, name, put_last=True, disorder=True)


WAYS = (
    at_once,
    post_and_put,
    with_its_algorithm,
    streamed,
    in_chunks,
    chunks_and_put,
    chunks_in_disorder,
    chunks_in_disorder_and_put,
)


def check_there(client: Client, path: str, data: bytes, name: str) -> None:
    head, got = client("HEAD", path), client("GET", path)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(data)))
    assert (got.status, got.headers["Content-Length"]) == (200, str(len(data)))
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(data).digest()
    assert head.headers["Docker-Content-Digest"] == got.headers["Docker-Content-Digest"] == name


def remove_blob(client: Client, name: str, repository: str = REPOSITORY) -> None:
    assert client("DELETE", f"/v2/{repository}/blobs/{name}").status == 202
    assert client("HEAD", f"/v2/{repository}/blobs/{name}").status == 404


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_in(client: Client, way: Any, algorithm: str) -> None:
    for data in (bytes_of(way.__name__, 3 * CHUNK - 5), b"{}", b""):
        name = sum_of(data, algorithm)
        made = way(client, data, name)
        assert (made.status, made.headers["Docker-Content-Digest"]) == (201, name)
        check_there(client, made.headers["Location"], data, name)
        remove_blob(client, name)
    data, name = bytes_of("other" + way.__name__, 3 * CHUNK - 5), sum_of(b"something else", algorithm)
    refused = way(client, data, name)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert client("GET", f"/v2/{REPOSITORY}/blobs/{name}").code == "BLOB_UNKNOWN"


def test_an_upload_for_an_algorithm_that_nobody_has_is_refused(client: Client) -> None:
    refused = client("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest-algorithm=md5", Content_Length="0")
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")


def test_mounts(client: Client) -> None:
    data = bytes_of("mounted", 512)
    name = client.push_blob(OTHER, data)
    uploads = f"/v2/{REPOSITORY}/blobs/uploads/?mount={name}"
    for source in (f"&from={quote(OTHER, safe='')}", ""):
        made = client("POST", uploads + source)
        assert (made.status, made.headers["Docker-Content-Digest"]) == (201, name)
        check_there(client, made.headers["Location"], data, name)
        remove_blob(client, name)
    remove_blob(client, name, OTHER)
    missing = client("POST", f"{uploads}&from={OTHER}")
    assert missing.status == 202
    assert client("PUT", f"{missing.headers['Location']}?digest={name}", data).status == 201
    remove_blob(client, name)


def test_an_upload_that_is_cancelled(client: Client) -> None:
    location = begin(client)
    assert client("DELETE", location, Content_Length="0").status == 204
    assert client("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_parts_of_a_blob(client: Client) -> None:
    data = bytes_of("ranges", 2048)
    path = f"/v2/{REPOSITORY}/blobs/{client.push_blob(REPOSITORY, data)}"
    for wanted, first, last in (
        ("500-1499", 500, 1499),
        ("500-", 500, 2047),
        ("-500", 1548, 2047),
        ("2000-5000", 2000, 2047),
    ):
        part = client("GET", path, Range=f"bytes={wanted}")
        assert (part.status, part.body) == (206, data[first : last + 1])
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/2048"
        assert part.headers["Content-Length"] == str(last + 1 - first)
    for wanted in ("500-0", "5000-10000"):
        assert client("GET", path, Range=f"bytes={wanted}").status == 416


# ── manifests ────────────────────────────────────────────────────────────────────────────────────────────────


class Content:
    """Blobs, manifests in the order in which they can be pushed, and who is about whom."""

    def __init__(self, name: str, algorithm: str = "sha256") -> None:
        self.name, self.algorithm = name, algorithm
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.referrers: dict[str, list[dict[str, Any]]] = {}

    def describe(self, kind: str, data: bytes, **more: Any) -> dict[str, Any]:
        return {"mediaType": kind, "digest": sum_of(data, self.algorithm), "size": len(data), **more}

    def blob(self, kind: str, data: bytes, **more: Any) -> dict[str, Any]:
        self.blobs[sum_of(data, self.algorithm)] = data
        return self.describe(kind, data, **more)

    def add(self, document: dict[str, Any], artifact: str) -> dict[str, Any]:
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        name = sum_of(data, self.algorithm)
        self.manifests[name] = data
        made = self.describe(document["mediaType"], data)
        if "subject" in document:
            about = {**made, **({"artifactType": artifact} if artifact else {})}
            if document.get("annotations"):
                about["annotations"] = document["annotations"]
            self.referrers.setdefault(document["subject"]["digest"], []).append(about)
        return made

    def image(self, *, layers: int = 2, **more: Any) -> dict[str, Any]:
        config = bytes_of(f"{self.name} config {len(self.manifests)}", 200)
        parts = [self.blob(LAYER, bytes_of(f"{self.name} {len(self.manifests)} {i}", 300)) for i in range(layers)]
        document = {"mediaType": MANIFEST, "config": self.blob(CONFIG, config), "layers": parts, **more}
        return self.add(document, CONFIG)

    def artifact(self, kind: str = ARTIFACT, *, layer: bytes | None = None, **more: Any) -> dict[str, Any]:
        data = bytes_of(f"{self.name} artifact {len(self.manifests)}", 100) if layer is None else layer
        parts = [self.blob(EMPTY if layer is not None else kind, data)]
        config = self.blob(EMPTY, b"{}")
        document = {"mediaType": MANIFEST, "artifactType": kind, "config": config, "layers": parts, **more}
        return self.add(document, kind)

    def index(self, *manifests: dict[str, Any], **more: Any) -> dict[str, Any]:
        document = {"mediaType": INDEX, "manifests": list(manifests), **more}
        return self.add(document, more.get("artifactType", ""))


def _artifacts_about_an_image(content: Content) -> None:
    subject = content.image()
    content.image(subject=subject)
    content.artifact(subject=subject, annotations={"org.example": "first"})
    content.artifact("application/vnd.example.other", subject=subject, annotations={"org.example": "second"})


def _an_index_about_an_index(content: Content) -> None:
    subject = content.index(content.image(), content.image())
    content.index(content.artifact(), artifactType=ARTIFACT, subject=subject, annotations={"org.example": "third"})


def _about_what_is_not_there(content: Content) -> None:
    content.artifact(subject={"mediaType": MANIFEST, "digest": sum_of(b"missing content"), "size": 123})


def _layers_that_are_elsewhere(content: Content) -> None:
    away = {**content.describe(NONDISTRIBUTABLE, b"elsewhere"), "urls": ["https://store.example.com/blob"]}
    here = content.blob(LAYER, bytes_of("here", 100))
    config = content.blob(CONFIG, bytes_of("foreign", 100))
    content.add({"mediaType": MANIFEST, "config": config, "layers": [away, here]}, CONFIG)


def _fields_that_nobody_knows(content: Content) -> None:
    content.index(content.image(orgExample="mine"), orgExample={"deep": ["mine"]})


def _bytes_within_the_descriptor(content: Content) -> None:
    config = content.blob(CONFIG, b'{"in":"line"}') | {"data": base64.b64encode(b'{"in":"line"}').decode()}
    content.add({"mediaType": MANIFEST, "config": config, "layers": []}, CONFIG)


def _an_index_in_an_index(content: Content) -> None:
    content.index(content.index(content.image()), content.index(content.image(), content.image()))


def _an_index_of_artifacts(content: Content) -> None:
    content.index(content.artifact(), content.artifact(), artifactType=ARTIFACT)


KINDS = {
    "image": lambda content: content.image(),
    "no-layers": lambda content: content.image(layers=0),
    "large": lambda content: content.image(annotations={f"large-{i}": "A" * 10_000 for i in range(390)}),
    "index": lambda content: content.index(content.image(), content.image()),
    "empty-index": lambda content: content.index(),
    "nested": _an_index_in_an_index,
    "artifact": lambda content: content.artifact(),
    "artifact-without-layers": lambda content: content.artifact(layer=b"{}"),
    "artifact-index": _an_index_of_artifacts,
    "referrers": _artifacts_about_an_image,
    "index-about-index": _an_index_about_an_index,
    "missing-subject": _about_what_is_not_there,
    "data": _bytes_within_the_descriptor,
    "foreign": _layers_that_are_elsewhere,
    "unknown-fields": _fields_that_nobody_knows,
}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_content(client: Client, kind: str, algorithm: str) -> None:
    content = Content(kind + algorithm, algorithm)
    KINDS[kind](content)
    for name, data in content.blobs.items():
        assert post_and_put(client, data, name).status == 201
    for name, data in content.manifests.items():
        put_manifest(client, data, name)
    top, data = list(content.manifests.items())[-1]
    if algorithm == "sha256":
        assert put_manifest(client, data, top, reference=kind).headers["Docker-Content-Digest"] == top
        assert kind in client("GET", f"/v2/{REPOSITORY}/tags/list").json["tags"]
        check_there(client, f"/v2/{REPOSITORY}/manifests/{kind}", data, top)
    for name, data in content.manifests.items():
        check_there(client, f"/v2/{REPOSITORY}/manifests/{name}", data, name)
    for subject, about in content.referrers.items():
        check_referrers(client, subject, about)
    remove(client, content, kind if algorithm == "sha256" else "")


def put_manifest(client: Client, data: bytes, name: str, reference: str = "", query: str = "") -> Answer:
    document = json.loads(data)
    path = f"/v2/{REPOSITORY}/manifests/{reference or name}{query}"
    made = client("PUT", path, data, Content_Type=document["mediaType"])
    assert (made.status, made.headers["Docker-Content-Digest"]) == (201, name)
    assert made.headers.get("OCI-Subject") == document.get("subject", {}).get("digest")
    check_there(client, made.headers["Location"], data, name)
    assert client("GET", made.headers["Location"]).headers["Content-Type"] == document["mediaType"]
    return made


def check_referrers(client: Client, subject: str, about: list[dict[str, Any]]) -> None:
    path = f"/v2/{REPOSITORY}/referrers/{subject}"
    found = client("GET", path)
    assert (found.status, found.headers["Content-Type"]) == (200, INDEX)
    assert (found.json["schemaVersion"], found.json["mediaType"]) == (2, INDEX)
    assert sorted(found.json["manifests"], key=str) == sorted(about, key=str)
    for kind in {item["artifactType"] for item in about}:
        chosen = client("GET", f"{path}?artifactType={quote(kind, safe='')}")
        assert chosen.headers["OCI-Filters-Applied"] == "artifactType"
        assert sorted(chosen.json["manifests"], key=str) == sorted(
            (item for item in about if item["artifactType"] == kind), key=str
        )


def remove(client: Client, content: Content, tag: str) -> None:
    manifests = f"/v2/{REPOSITORY}/manifests"
    if tag:
        assert client("DELETE", f"{manifests}/{tag}").status == 202
        assert client("HEAD", f"{manifests}/{tag}").status == 404
    for name in reversed(content.manifests):
        assert client("DELETE", f"{manifests}/{name}").status == 202
        assert client("HEAD", f"{manifests}/{name}").status == 404
    for name in content.blobs:
        assert client("DELETE", f"/v2/{REPOSITORY}/blobs/{name}").status in {202, 404}
        assert client("HEAD", f"/v2/{REPOSITORY}/blobs/{name}").status == 404
    for subject in content.referrers:
        assert client("GET", f"/v2/{REPOSITORY}/referrers/{subject}").json["manifests"] == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_tags_beside_a_digest(client: Client, algorithm: str) -> None:
    content = Content("tagged" + algorithm, algorithm)
    content.image()
    for name, data in content.blobs.items():
        assert post_and_put(client, data, name).status == 201
    ((name, data),) = content.manifests.items()
    tags = [f"tag-{i}" for i in range(12)]
    made = put_manifest(client, data, name, query="?" + "&".join(f"tag={tag}" for tag in tags))
    assert made.headers["OCI-Tag"].split(", ") == tags
    for tag in tags:
        check_there(client, f"/v2/{REPOSITORY}/manifests/{tag}", data, name)
    refused = client("PUT", f"/v2/{REPOSITORY}/manifests/{name}?tag=good&tag=.bad", data, Content_Type=MANIFEST)
    assert (refused.status, refused.code) == (400, "TAG_INVALID")
    assert client("GET", f"/v2/{REPOSITORY}/manifests/good").code == "MANIFEST_UNKNOWN"
    remove(client, content, tags[0])


# ── what is not there ────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_there(client: Client) -> None:
    assert client("GET", "/v2/").status == 200
    manifests = f"/v2/{REPOSITORY}/manifests"
    assert client("GET", f"{manifests}/{sum_of(b'never')}").code == "MANIFEST_UNKNOWN"
    assert client("GET", f"{manifests}/missing").code == "MANIFEST_UNKNOWN"
    assert client("GET", f"{manifests}/sha256:baddigeststring").code == "DIGEST_INVALID"
    assert client("PUT", f"{manifests}/sha256:baddigeststring", b"{}", Content_Type=MANIFEST).code == "DIGEST_INVALID"
    assert client("GET", "/v2/never/pushed/tags/list").code == "NAME_UNKNOWN"
    nothing = client("GET", f"/v2/never/pushed/referrers/{sum_of(b'never')}")
    assert (nothing.status, nothing.json["manifests"]) == (200, [])


def test_tags_after_one(client: Client) -> None:
    content = Content("after")
    content.image()
    for name, data in content.blobs.items():
        assert post_and_put(client, data, name).status == 201
    ((name, data),) = content.manifests.items()
    put_manifest(client, data, name, query="?tag=one&tag=three&tag=two")
    path = f"/v2/{REPOSITORY}/tags/list"
    assert client("GET", f"{path}?last=one").json["tags"] == ["three", "two"]
    assert client("GET", f"{path}?last=one&n=1").json["tags"] == ["three"]
    assert client("GET", f"{path}?last=nowhere").json["tags"] == ["one", "three", "two"]
    remove(client, content, "one")
