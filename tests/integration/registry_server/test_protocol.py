"""The distribution-spec, request by request, against the registry's process."""

import hashlib
import http.client
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tools.own_registry import OwnRegistry, own_registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["errors"][0]["code"])


class Client:
    def __init__(self, registry: OwnRegistry) -> None:
        self.registry = registry

    def __call__(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(self.registry.address, timeout=20)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())  # type: ignore[arg-type]
        finally:
            connection.close()

    def push_blob(self, name: str, data: bytes) -> str:
        begun = self("POST", f"/v2/{name}/blobs/uploads/")
        assert begun.status == 202
        done = self("PUT", f"{begun.headers['Location']}?digest={digest(data)}", data)
        assert done.status == 201, done
        assert done.headers["Docker-Content-Digest"] == digest(data)
        return digest(data)

    def push_manifest(self, name: str, reference: str, *layers: bytes, **more: Any) -> str:
        data = self.manifest(name, *layers, **more)
        done = self("PUT", f"/v2/{name}/manifests/{reference}", data, Content_Type=MANIFEST)
        assert done.status == 201, done
        return digest(data)

    def manifest(self, name: str, *layers: bytes, config: bytes = b"{}", **more: Any) -> bytes:
        for blob in (config, *layers):
            self.push_blob(name, blob)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(CONFIG, config),
            "layers": [describe(LAYER, layer) for layer in layers],
            **more,
        }
        return json.dumps(document).encode()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def describe(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRegistry]:
    with own_registry(tmp_path_factory.mktemp("own") / "root") as running:
        yield running


@pytest.fixture
def client(registry: OwnRegistry) -> Client:
    return Client(registry)


def stored(registry: OwnRegistry, text: str) -> Path:
    return registry.root / "blobs" / text.replace(":", "/")


def test_the_base(client: Client) -> None:
    answer = client("GET", "/v2/")
    assert (answer.status, answer.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")
    assert client("GET", "/v3/").status == 404
    assert client("POST", "/v2/").code == "UNSUPPORTED"


def test_a_blob_in_one_piece(client: Client) -> None:
    data = os.urandom(3_000_000)
    client.push_blob("one/piece", data)
    got = client("GET", f"/v2/one/piece/blobs/{digest(data)}")
    assert (got.status, got.body) == (200, data)
    head = client("HEAD", f"/v2/one/piece/blobs/{digest(data)}")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "3000000", b"")
    assert head.headers["Docker-Content-Digest"] == digest(data)
    again = client("GET", f"/v2/one/piece/blobs/{digest(data)}", If_None_Match=got.headers["ETag"])
    assert again.status == 304
    ours = client("GET", f"/v2/one/piece/blobs/{digest(data)}", If_None_Match=f'"{digest(data)}"')
    assert ours.status == 304
    assert client("GET", f"/v2/another/blobs/{digest(data)}").code == "BLOB_UNKNOWN"


def test_a_blob_in_one_request(client: Client) -> None:
    data = b"all at once"
    done = client("POST", f"/v2/at/once/blobs/uploads/?digest={digest(data)}", data)
    assert (done.status, done.headers["Location"]) == (201, f"/v2/at/once/blobs/{digest(data)}")
    wrong = client("POST", f"/v2/at/once/blobs/uploads/?digest={digest(b'other')}", data)
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")


def test_ranges(client: Client) -> None:
    data = bytes(range(256)) * 10
    path = f"/v2/ranges/blobs/{client.push_blob('ranges', data)}"
    middle = client("GET", path, Range="bytes=100-199")
    assert (middle.status, middle.body) == (206, data[100:200])
    assert middle.headers["Content-Range"] == "bytes 100-199/2560"
    assert client("GET", path, Range="bytes=2500-").body == data[2500:]
    assert client("GET", path, Range="bytes=-10").body == data[-10:]
    assert client("GET", path, Range="bytes=2560-").status == 416


def test_a_blob_in_chunks(client: Client) -> None:
    first, second, third = b"a" * 100, b"b" * 50, b"c" * 7
    location = client("POST", "/v2/chunks/blobs/uploads/").headers["Location"]
    answer = client("PATCH", location, first, Content_Range="0-99")
    assert (answer.status, answer.headers["Range"]) == (202, "0-99")
    wrong = client("PATCH", location, second, Content_Range="120-169")
    assert (wrong.status, wrong.code, wrong.headers["Range"]) == (416, "RANGE_INVALID", "0-99")
    assert client("PATCH", location, second, Content_Range="100-120").code == "SIZE_INVALID"
    status = client("GET", location)
    assert (status.status, status.headers["Range"]) == (204, "0-99")
    assert client("PATCH", location, second).headers["Range"] == "0-149"
    whole = digest(first + second + third)
    assert client("PUT", f"{location}?digest={whole}", third, Content_Range="150-156").status == 201
    assert client("GET", f"/v2/chunks/blobs/{whole}").body == first + second + third
    assert client("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_uploads_that_go_wrong(client: Client, registry: OwnRegistry) -> None:
    location = client("POST", "/v2/wrong/blobs/uploads/").headers["Location"]
    assert client("PUT", location, b"x").code == "DIGEST_INVALID"
    assert client("PUT", f"{location}?digest=sha256:12", b"x").code == "DIGEST_INVALID"
    assert client("PUT", f"{location}?digest={digest(b'y')}", b"x").code == "DIGEST_INVALID"
    assert client("PATCH", location, b"x").code == "BLOB_UPLOAD_UNKNOWN"
    location = client("POST", "/v2/wrong/blobs/uploads/").headers["Location"]
    assert client("PATCH", location.replace("wrong", "elsewhere"), b"x").code == "BLOB_UPLOAD_UNKNOWN"
    assert client("DELETE", location).status == 204
    assert client("GET", "/v2/wrong/blobs/uploads/..%2f..%2fregistry.db").status == 404
    assert not os.listdir(registry.root / "uploads")


def test_mounts(client: Client) -> None:
    data = b"to be mounted"
    name = client.push_blob("mount/source", data)
    answer = client("POST", f"/v2/mount/target/blobs/uploads/?mount={name}&from=mount/source")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/mount/target/blobs/{name}")
    assert client("GET", f"/v2/mount/target/blobs/{name}").body == data
    assert client("POST", f"/v2/mount/other/blobs/uploads/?mount={name}").status == 201
    assert client("POST", f"/v2/mount/third/blobs/uploads/?mount={name}&from=not/there").status == 202
    assert client("POST", f"/v2/mount/third/blobs/uploads/?mount={digest(b'no')}&from=mount/source").status == 202


def test_manifests(client: Client) -> None:
    named = client.push_manifest("man/ifest", "v1", b"layer")
    got = client("GET", "/v2/man/ifest/manifests/v1")
    assert (got.status, got.headers["Content-Type"], digest(got.body)) == (200, MANIFEST, named)
    assert got.headers["Docker-Content-Digest"] == named
    head = client("HEAD", f"/v2/man/ifest/manifests/{named}")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(got.body)))
    assert client("GET", "/v2/man/ifest/manifests/v1", If_None_Match=f'"{named}"').status == 304
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [describe(MANIFEST, got.body)]}).encode()
    put = client("PUT", "/v2/man/ifest/manifests/all", index, Content_Type=INDEX)
    assert (put.status, put.headers["Docker-Content-Digest"]) == (201, digest(index))
    assert client("GET", "/v2/man/ifest/manifests/all").headers["Content-Type"] == INDEX


def test_manifests_that_are_refused(client: Client) -> None:
    good = client.manifest("refused", b"layer")

    def put(data: bytes, reference: str = "x", kind: str = MANIFEST) -> tuple[int, str]:
        answer = client("PUT", f"/v2/refused/manifests/{reference}", data, Content_Type=kind)
        return answer.status, answer.code

    assert put(b"{nonsense") == (400, "MANIFEST_INVALID")
    assert put(b"[" * 100_000) == (400, "MANIFEST_INVALID")
    assert put(good, kind="text/plain") == (400, "MANIFEST_INVALID")
    assert put(good, kind=INDEX) == (400, "MANIFEST_INVALID")
    assert put(good, reference=digest(b"else")) == (400, "DIGEST_INVALID")
    assert put(good, reference=".bad") == (400, "TAG_INVALID")
    assert put(b" " * (5 << 20)) == (413, "MANIFEST_INVALID")
    missing = json.loads(good)
    missing["layers"][0]["digest"] = digest(b"never pushed")
    assert put(json.dumps(missing).encode()) == (400, "MANIFEST_BLOB_UNKNOWN")
    lying = json.loads(good)
    lying["layers"][0]["size"] += 1
    assert put(json.dumps(lying).encode()) == (400, "MANIFEST_INVALID")
    both = {**json.loads(good), "manifests": []}
    assert put(json.dumps(both).encode()) == (400, "MANIFEST_INVALID")
    schema1 = {"schemaVersion": 1, "name": "x", "fsLayers": []}
    assert put(json.dumps(schema1).encode()) == (400, "MANIFEST_INVALID")
    assert client("GET", "/v2/refused/manifests/x").code == "MANIFEST_UNKNOWN"
    assert client("GET", "/v2/never/seen/manifests/x").code == "MANIFEST_UNKNOWN"
    assert client("GET", "/v2/Bad/manifests/x").code == "NAME_INVALID"
    assert client("GET", "/v2/_bad/tags/list").code == "NAME_INVALID"


def test_tags_and_catalog_in_pages(client: Client) -> None:
    for tag in ("c", "a", "B", "d"):
        client.push_manifest("pages/one", tag)
    client.push_manifest("pages/two", "x")
    assert client("GET", "/v2/pages/one/tags/list").json == {"name": "pages/one", "tags": ["B", "a", "c", "d"]}
    page = client("GET", "/v2/pages/one/tags/list?n=3")
    assert page.json["tags"] == ["B", "a", "c"]
    following = page.headers["Link"]
    assert following == '</v2/pages/one/tags/list?n=3&last=c>; rel="next"'
    page = client("GET", following.partition("<")[2].partition(">")[0])
    assert (page.json["tags"], page.headers.get("Link")) == (["d"], None)
    assert client("GET", "/v2/pages/one/tags/list?n=0").json["tags"] == []
    assert client("GET", "/v2/pages/one/tags/list?n=x").code == "PAGINATION_NUMBER_INVALID"
    assert client("GET", "/v2/pages/no/tags/list").code == "NAME_UNKNOWN"
    found, path = [], "/v2/_catalog?n=1"
    while path:
        page = client("GET", path)
        found += page.json["repositories"]
        path = page.headers.get("Link", "").partition("<")[2].partition(">")[0]
    assert found == sorted(found)
    assert {"pages/one", "pages/two"} <= set(found)


def test_deleting_frees_what_nothing_needs(client: Client, registry: OwnRegistry) -> None:
    shared, own = os.urandom(1000), os.urandom(1000)
    first = client.push_manifest("del/a", "1", shared, own)
    client("PUT", "/v2/del/a/manifests/same", client("GET", "/v2/del/a/manifests/1").body, Content_Type=MANIFEST)
    second = client.push_manifest("del/a", "2", shared)
    assert client("DELETE", "/v2/del/a/manifests/same").status == 202
    assert client("GET", "/v2/del/a/manifests/1").status == 200
    assert client("DELETE", f"/v2/del/a/manifests/{first}").status == 202
    assert client("GET", "/v2/del/a/tags/list").json["tags"] == ["2"]
    assert client("DELETE", f"/v2/del/a/manifests/{first}").code == "MANIFEST_UNKNOWN"
    assert not stored(registry, digest(own)).exists()
    assert not stored(registry, first).exists()
    assert stored(registry, digest(shared)).exists()
    client("POST", f"/v2/del/b/blobs/uploads/?mount={digest(shared)}&from=del/a")
    assert client("DELETE", f"/v2/del/a/manifests/{second}").status == 202
    assert client("GET", f"/v2/del/b/blobs/{digest(shared)}").body == shared
    assert client("DELETE", f"/v2/del/b/blobs/{digest(shared)}").status == 202
    assert not stored(registry, digest(shared)).exists()
    assert client("DELETE", f"/v2/del/b/blobs/{digest(shared)}").code == "BLOB_UNKNOWN"


def test_a_blob_that_a_pusher_was_promised_stays(client: Client) -> None:
    layer = os.urandom(500)
    first = client.push_manifest("promise", "1", layer)
    assert client("HEAD", f"/v2/promise/blobs/{digest(layer)}").status == 200
    assert client("DELETE", f"/v2/promise/manifests/{first}").status == 202
    assert client("GET", f"/v2/promise/blobs/{digest(layer)}").body == layer


def test_referrers(client: Client) -> None:
    image = client.push_manifest("ref", "v1", b"layer")
    subject = {"mediaType": MANIFEST, "digest": image, "size": 1}
    data = client.manifest(
        "ref", b"sbom", subject=subject, artifactType="application/x.sbom", annotations={"made": "by"}
    )
    put = client("PUT", f"/v2/ref/manifests/{digest(data)}", data, Content_Type=MANIFEST)
    assert (put.status, put.headers["OCI-Subject"]) == (201, image)
    client.push_manifest("ref", "sig", b"sig", subject=subject)
    answer = client("GET", f"/v2/ref/referrers/{image}")
    assert answer.headers["Content-Type"] == INDEX
    kinds = {item["artifactType"]: item for item in answer.json["manifests"]}
    assert set(kinds) == {"application/x.sbom", CONFIG}
    assert kinds["application/x.sbom"] == {
        **describe(MANIFEST, data),
        "artifactType": "application/x.sbom",
        "annotations": {"made": "by"},
    }
    chosen = client("GET", f"/v2/ref/referrers/{image}?artifactType=application/x.sbom")
    assert (len(chosen.json["manifests"]), chosen.headers["OCI-Filters-Applied"]) == (1, "artifactType")
    assert client("GET", f"/v2/ref/referrers/{digest(b'nothing')}").json["manifests"] == []
    assert client("GET", "/v2/ref/referrers/nonsense").code == "DIGEST_INVALID"
    client("DELETE", f"/v2/ref/manifests/{digest(data)}")
    assert len(client("GET", f"/v2/ref/referrers/{image}").json["manifests"]) == 1


def test_search(client: Client) -> None:
    client.push_manifest("find/me_x", "1", annotations={"org.opencontainers.image.description": "Found"})
    client.push_manifest("find/mezx", "1")
    assert client("GET", "/v1/_ping").status == 200
    answer = client("GET", "/v1/search?q=me_x&n=5").json
    assert answer["num_results"] == 1
    assert (answer["results"][0]["name"], answer["results"][0]["description"]) == ("find/me_x", "Found")
    assert client("GET", "/v1/search?q=find/&n=1").json["num_pages"] == 2


def test_pages_of_browsers_do_not_write(client: Client) -> None:
    answer = client("POST", "/v2/x/blobs/uploads/", Origin="http://evil.example")
    assert (answer.status, answer.code) == (403, "DENIED")
    assert client("POST", "/v2/x/blobs/uploads/", Origin=f"http://{client.registry.address}").status == 202


def test_killed_in_the_middle(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    with own_registry(tmp_path / "root") as running:
        client = Client(running)
        image = client.push_manifest("kill", "v1", b"layer")
        location = client("POST", "/v2/kill/blobs/uploads/").headers["Location"]
        client("PATCH", location, data[:100_000])
        running.kill()
        (running.root / "blobs" / "sha256" / "0.tmp").write_bytes(b"half a manifest")
        (running.root / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"content without a row")
        running.start()
        status = client("GET", location)
        assert (status.status, status.headers["Range"]) == (204, "0-99999")
        assert client("PATCH", location, data[100_000:], Content_Range="100000-299999").status == 202
        assert client("PUT", f"{location}?digest={digest(data)}").status == 201
        assert client("GET", f"/v2/kill/blobs/{digest(data)}").body == data
        assert client("GET", "/v2/kill/manifests/v1").headers["Docker-Content-Digest"] == image
        names = set(os.listdir(running.root / "blobs" / "sha256"))
        wanted = {digest(data), digest(b"layer"), digest(b"{}"), image}
        assert names == {text.removeprefix("sha256:") for text in wanted}


def test_a_client_that_goes_away_keeps_what_it_sent(client: Client) -> None:
    location = client("POST", "/v2/gone/blobs/uploads/").headers["Location"]
    connection = http.client.HTTPConnection(client.registry.address, timeout=10)
    connection.putrequest("PATCH", location)
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"x" * 400)
    connection.close()
    for _ in range(100):
        status = client("GET", location)
        if status.headers.get("Range") == "0-399":
            break
    assert status.headers["Range"] == "0-399"
    rest = client("PATCH", location, b"x" * 600, Content_Range="400-999")
    assert rest.headers["Range"] == "0-999"


def test_one_registry_for_a_root(registry: OwnRegistry) -> None:
    with pytest.raises(AssertionError, match="another registry serves"):
        OwnRegistry(registry.root)
