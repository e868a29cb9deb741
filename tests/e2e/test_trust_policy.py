"""The engine's trust policy, met by every client: pull, run, create and build of what is not signed as it demands."""

import hashlib
import importlib
import json
import ssl
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import docker
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.conftest import docker_programs, lacking, need
from tests.e2e.lying_registry import lying_registry
from tests.e2e.trust_site import Site, User, site
from tests.engines import Engine
from tests.unit.trust import test_notation as makers
from tests.unit.trust.sigstore_site import IDENTITY, ISSUER, SigstoreSite, statement
from tests.unit.trust.test_revocation import crl, point
from tests.webserver import serving_files

from rundlet.trust import cosign, notation

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


class Policed:
    """An engine with a policy file that the test writes, and a registry with a trust server."""

    def __init__(self, engine: Engine, place: Site, directory: Path) -> None:
        self.engine = engine
        self.place = place
        self.directory = directory
        self.file = directory / "policy.json"

    def rules(self, **rules: dict[str, Any]) -> None:
        """By the first component of the path; everything else is accepted."""
        document = {"rules": {f"{self.place.address}/{scope}": rule for scope, rule in rules.items()}}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.rename(self.file)

    def push(self, path: str) -> str:
        """An unsigned image under a new name. Its digest."""
        name = f"{self.place.address}/{path}"
        self.engine.ok("tag", "busybox", name)
        pushed = self.engine.ok("push", name)
        self.engine.ok("rmi", name)
        return "sha256:" + pushed.rpartition("digest: sha256:")[2][:64]

    def refused(self, *command: str, words: str = "") -> None:
        done = self.engine.cli(*command)
        assert done.returncode != 0, command
        assert "is refused by the trust policy" in done.stderr, done.stderr
        assert words in done.stderr, done.stderr

    def attach(self, repository: str, subject: str, kind: str, data: bytes, media_type: str) -> None:
        """A signature that refers to ``subject``, as Notation and cosign push it."""
        empty = b"{}"
        for blob in (empty, data):
            self._send("POST", f"{repository}/blobs/uploads/?digest={_digest(blob)}", blob, "application/octet-stream")
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": _digest(empty), "size": 2},
            "layers": [{"mediaType": media_type, "digest": _digest(data), "size": len(data)}],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 527},
        }
        content = json.dumps(document).encode()
        self._send("PUT", f"{repository}/manifests/{_digest(content)}", content, MANIFEST)

    def sign_under_tag(self, repository: str, subject: str, payload: bytes, notes: dict[str, str]) -> None:
        """A simple signing document under the image's tag; it replaces what was there."""
        config = b"{}"
        for blob in (config, payload):
            self._send("POST", f"{repository}/blobs/uploads/?digest={_digest(blob)}", blob, "application/octet-stream")
        layer = {"mediaType": cosign.SIMPLE, "digest": _digest(payload), "size": len(payload), "annotations": notes}
        kind = "application/vnd.oci.image.config.v1+json"
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": kind, "digest": _digest(config), "size": len(config)},
            "layers": [layer],
        }
        content = json.dumps(document).encode()
        self._send("PUT", f"{repository}/manifests/{cosign.signature_tag(subject)}", content, MANIFEST)

    def _send(self, method: str, path: str, data: bytes, kind: str) -> None:
        context = ssl.create_default_context(cafile=str(self.place.authority))
        url = f"https://{self.place.address}/v2/{path}"
        request = urllib.request.Request(url, data, {"Content-Type": kind}, method=method)
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            assert answer.status in (201, 202), (url, answer.status)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(scope="module")
def policed(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Iterator[Policed]:
    directory = tmp_path_factory.mktemp("policy")
    (directory / "policy.json").write_text("{}")
    engine = Engine(["--trust-policy", str(directory / "policy.json")]).start()
    try:
        engine.ok("import", str(busybox_tar), "busybox")
        with site(directory / "registry") as place:
            yield Policed(engine, place, directory)
    finally:
        engine.stop()


def test_reject(policed: Policed) -> None:
    """Whoever asks, and however the image came here."""
    policed.push("bad/app:1")
    policed.rules(bad={"type": "reject"})
    name = f"{policed.place.address}/bad/app:1"
    policed.refused("pull", name, words="(reject): nothing of it may be used")
    policed.refused("run", "--rm", name)
    policed.engine.ok("tag", "busybox", name)
    for command in (["create", name], ["run", "--rm", "--pull", "never", name]):
        policed.refused(*command)
    client = docker.DockerClient(base_url=policed.engine.host)
    try:
        for call in (client.images.pull, client.containers.create):
            with pytest.raises(docker.errors.APIError) as caught:
                call(name)
            assert caught.value.status_code == 403
    finally:
        client.close()
    for program in docker_programs():
        done = policed.engine.docker("run", "--rm", name, binary=program)
        assert (done.returncode, "refused by the trust policy" in done.stderr) == (125, True)
    policed.engine.ok("rmi", name)
    assert policed.engine.ok("run", "--rm", "busybox", "echo", "others") == "others"


@pytest.mark.parametrize("kind", ["dct", "cosign", "keyless", "notation", "audit"])
def test_every_rule_is_met_by_every_client(policed: Policed, tmp_path: Path, kind: str) -> None:
    """Of an image that is not signed: pulled, or here under the name. Only what is audited goes through."""
    rule, words = _unsigned_rule(kind, tmp_path)
    policed.push(f"{kind}/app:1")
    policed.rules(**{kind: rule})
    name = f"{policed.place.address}/{kind}/app:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\n")
    programs = [["create", name, "sh"], ["build", "-q", "-t", "built", str(tmp_path)], ["pull", "-q", name]]
    classic = {"DOCKER_BUILDKIT": "0"}
    client = docker.APIClient(base_url=policed.engine.host)
    try:
        for here in (False, True):
            pulled = client.post(client._url("/images/create"), params={"fromImage": name})
            assert (words in pulled.text) if words else pulled.ok, pulled.text
            if here:
                policed.engine.ok("tag", "busybox", name)
                made = client.post(client._url("/containers/create"), json={"Image": name, "Cmd": ["true"]})
                assert (made.status_code, words in made.text) == (403 if words else 201, True), made.text
            for command in programs:
                done = [policed.engine.cli(*command)]
                done += [policed.engine.run_command([cli, *command], env=classic) for cli in docker_programs()]
                for each in done:
                    assert (each.returncode == 0) is (kind == "audit"), (command, each)
                    assert kind == "audit" or words in each.stdout + each.stderr, (command, each)
    finally:
        client.close()
    containers = policed.engine.ok("ps", "-aq").split()
    policed.engine.ok("rm", *containers) if containers else None
    policed.engine.ok("rmi", name)
    if kind == "audit":
        policed.engine.ok("rmi", "built")


def _unsigned_rule(kind: str, directory: Path) -> tuple[dict[str, Any], str]:
    """A rule that an unsigned image does not meet, and what is said of it."""
    (directory / "ca").mkdir()
    (directory / "ca/root.crt").write_bytes(makers.ROOT.certificate.public_bytes(Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (directory / "k.pub").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (directory / "root.json").write_text("{}")
    keyless = {"identity": IDENTITY, "issuer": ISSUER, "trust-root": str(directory / "root.json")}
    notation = {"type": "notation", "trust-store": str(directory / "ca")}
    rules: dict[str, tuple[dict[str, Any], str]] = {
        "dct": ({"type": "dct"}, "does not have trust data"),
        "cosign": ({"type": "cosign", "keys": [str(directory / "k.pub")]}, "it is not signed"),
        "keyless": ({"type": "cosign", **keyless}, "it is not signed"),
        "notation": (notation, "it is not signed"),
        "audit": ({**notation, "level": "audit"}, ""),
    }
    return rules[kind]


def test_images_that_are_mounted(policed: Policed, tmp_path: Path) -> None:
    """What a container gets of another image by a mount, or a build by one, is used as well."""
    policed.push("mounted/app:1")
    policed.rules(mounted={"type": "reject"})
    name = f"{policed.place.address}/mounted/app:1"
    policed.engine.ok("tag", "busybox", name)
    mount = f"type=image,source={name},target=/m"
    policed.refused("run", "--rm", "--mount", mount, "busybox", "/m/bin/true")
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN --mount=from={name},target=/m /m/bin/true\n")
    policed.refused("build", str(tmp_path))
    (tmp_path / "Dockerfile").write_text("FROM other\n")
    policed.refused("build", "--build-context", f"other=docker-image://{name}", str(tmp_path))
    policed.rules()
    policed.engine.ok("run", "--rm", "--mount", mount, "busybox", "/m/bin/true")
    policed.engine.ok("rmi", name)


def test_build(policed: Policed, tmp_path: Path) -> None:
    policed.push("base/app:1")
    policed.rules(base={"type": "reject"})
    name = f"{policed.place.address}/base/app:1"
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nRUN true\n")
    policed.refused("build", str(tmp_path))
    policed.engine.ok("tag", "busybox", name)
    policed.refused("build", str(tmp_path))
    (tmp_path / "Dockerfile").write_text(f"FROM busybox AS one\nFROM busybox\nCOPY --from={name} /bin/sh /sh\n")
    policed.refused("build", str(tmp_path))
    policed.engine.ok("rmi", name)


def test_signed_tags(policed: Policed, tmp_path: Path) -> None:
    """With ``dct`` the engine itself asks the trust server: a tag is what was signed, whoever moved it since."""
    engine, name = policed.engine, f"{policed.place.address}/dct/app:v1"
    policed.rules()
    alice = User(engine, policed.place, tmp_path / "alice")
    engine.ok("tag", "busybox", name)
    alice.ok("push", name)
    signed = engine.ok("inspect", "-f", "{{.Id}}", name)
    container = engine.ok("create", "busybox", "sh")
    engine.ok("commit", "-c", "ENV EVIL=1", container, name)
    engine.ok("rm", container)
    engine.ok("push", name)
    policed.rules(dct={"type": "dct"})
    # What is here under the name is not what was signed.
    policed.refused("run", "--rm", "--pull", "never", name, words="that is another image")
    engine.ok("rmi", name)
    engine.ok("pull", name)
    assert engine.ok("inspect", "-f", "{{.Id}}", name) == signed
    assert engine.ok("run", "--rm", name, "echo", "good") == "good"
    assert engine.ok("run", "--rm", signed, "echo", "by id") == "by id"
    engine.ok("tag", name, name.replace(":v1", ":v9"))
    policed.refused("run", "--rm", name.replace(":v1", ":v9"), words="No valid trust data for v9")
    policed.refused("pull", f"{policed.place.address}/dct/none:1", words="does not have trust data")
    rotated = {"type": "dct", "root-keys": ["0" * 64]}
    policed.rules(dct=rotated)
    policed.refused("run", "--rm", name, words="none of its root keys is one of the policy's")
    key = json.loads(alice.ok("trust", "inspect", name))[0]["AdministrativeKeys"][0]["Keys"][0]["ID"]
    policed.rules(dct={"type": "dct", "root-keys": [key], "server": f"https://{policed.place.address}"})
    assert engine.ok("run", "--rm", name, "echo", "pinned") == "pinned"
    # The policy holds without a network for what was verified.
    address = policed.place.registry
    address.kill()
    try:
        assert engine.ok("run", "--rm", name, "echo", "offline") == "offline"
        policed.refused("run", "--rm", name.replace(":v1", ":v9"))
    finally:
        address.start()
    engine.ok("rmi", name, name.replace(":v1", ":v9"))


def test_a_manifest_swapped_by_the_registry(policed: Policed, tmp_path: Path) -> None:
    """Between what was resolved and what is fetched: announced under the signed digest, and other bytes."""
    need("notary")
    engine = policed.engine
    with lying_registry() as liar:
        name = liar.image("signed")
        repository, tag = name.rsplit(":", 1)
        path = repository.partition("/")[2]
        manifest, announced = liar.manifests[path, tag]
        admin = User(engine, policed.place, tmp_path / "admin")
        admin.notary_ok("init", repository)
        sha256 = announced.removeprefix("sha256:")
        admin.notary_ok("addhash", repository, tag, str(len(manifest)), "--sha256", sha256, "-p")
        policed.rules()
        document = {"rules": {liar.address: {"type": "dct", "server": f"https://{policed.place.address}"}}}
        policed.file.write_text(json.dumps(document))
        server = {"DOCKER_CONTENT_TRUST_SERVER": f"https://{policed.place.address}"}
        liar.manifests[path, announced] = (manifest.replace(b"linux", b"linus") + b" ", announced)
        for done in (engine.cli("pull", name), admin("pull", name, env=server), admin("run", name, env=server)):
            assert done.returncode in (1, 125)
            assert "manifest verification failed" in done.stderr, done.stderr
        liar.manifests[path, announced] = (manifest, announced)
        # The tag itself may say what it likes.
        liar.manifests[path, tag] = (b"{}", "sha256:" + "0" * 64)
        engine.ok("pull", name)
        assert admin.ok("run", "--rm", name, "cat", "/hello", env=server) == "hello"
        engine.ok("rmi", name)


def test_cosign_by_key(policed: Policed, tmp_path: Path) -> None:
    engine, name = policed.engine, f"{policed.place.address}/co/app:1"
    keys = []
    for number in range(2):
        key = ec.generate_private_key(ec.SECP256R1())
        private, public = tmp_path / f"{number}.key", tmp_path / f"{number}.pub"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        keys.append((str(private), str(public)))
    digest = policed.push("co/app:1")
    policed.rules(co={"type": "cosign", "keys": [keys[1][1]]})
    policed.refused("pull", name, words="(cosign: 1 key): no matching signatures: it is not signed")
    signed = engine.ok("trust", "sign", "--cosign", keys[0][0], name)
    assert signed.startswith(f"Successfully signed {policed.place.address}/co/app@{digest}")
    policed.refused("pull", name, words="none of its 1 signatures is good")
    engine.ok("trust", "sign", "--cosign", keys[1][0], name)
    engine.ok("pull", name)
    assert engine.ok("run", "--rm", name, "echo", "signed") == "signed"
    # Another key is another rule: what was good under the old one is looked at again.
    policed.rules(co={"type": "cosign", "keys": [keys[0][1], keys[1][1]]})
    assert engine.ok("run", "--rm", name, "echo", "again") == "again"
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    Path(keys[0][1]).write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    policed.rules(co={"type": "cosign", "keys": [keys[0][1]]})
    policed.refused("run", "--rm", name, words="none of its 2 signatures is good")
    engine.ok("rmi", name)


@pytest.mark.parametrize("kind", [notation.JWS, notation.COSE])
def test_notation(policed: Policed, tmp_path: Path, kind: str) -> None:
    now = datetime.now(UTC)
    times: dict[str, Any] = {"begin": now - timedelta(hours=1), "end": now + timedelta(hours=1)}
    root = makers.Authority.root(**times)
    leaf = root.issue("leaf", **times)
    (tmp_path / "root.crt").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    scope = "n" + kind.rpartition("/")[2].partition("+")[0]
    digest = policed.push(f"{scope}/app:1")
    name = f"{policed.place.address}/{scope}/app:1"
    rule = {"type": "notation", "trust-store": str(tmp_path)}
    policed.rules(**{scope: rule})
    policed.refused("pull", name, words="(notation): no matching signatures")
    make = makers.jws if kind == notation.JWS else makers.cose
    stranger = makers.Authority.root(**times)
    policed.attach(f"{scope}/app", digest, notation.ARTIFACT, make([stranger], makers.payload(digest)), kind)
    policed.refused("pull", name, words="not in the trust store")
    policed.attach(f"{scope}/app", digest, notation.ARTIFACT, make([leaf, root], makers.payload(digest)), kind)
    policed.engine.ok("pull", name)
    assert policed.engine.ok("run", "--rm", name, "echo", "signed") == "signed"
    policed.rules(**{scope: {**rule, "identities": ["x509.subject: C=DE, ST=HH, O=Other"]}})
    policed.refused("run", "--rm", name, words="trusted identities")
    policed.rules(**{scope: {**rule, "identities": ["x509.subject: C=DE, ST=HH, O=Team"]}})
    assert policed.engine.ok("run", "--rm", name, "echo", "known") == "known"
    policed.engine.ok("rmi", name)


def test_notation_asks_whether_a_certificate_was_revoked(policed: Policed, tmp_path: Path) -> None:
    """By the list that it names: good, taken back, out of reach. What is found is noted until the list ends."""
    now = datetime.now(UTC)
    times: dict[str, Any] = {"begin": now - timedelta(hours=1), "end": now + timedelta(hours=1)}
    root = makers.Authority.root(**times)
    (tmp_path / "root.crt").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    digest = policed.push("listed/app:1")
    name = f"{policed.place.address}/listed/app:1"
    rule = {"type": "notation", "trust-store": str(tmp_path)}
    with serving_files(tmp_path) as address:
        leaf = root.issue("leaf", **times, more=[x509.CRLDistributionPoints([point(f"{address}/ca.crl")])])
        signature = makers.jws([leaf, root], makers.payload(digest))
        policed.attach("listed/app", digest, notation.ARTIFACT, signature, notation.JWS)
        policed.rules(listed=rule)
        policed.refused("pull", name, words="can't be found out")
        span: dict[str, Any] = {"issuer": root, "start": now - timedelta(hours=1), "end": now + timedelta(hours=1)}
        (tmp_path / "ca.crl").write_bytes(crl((leaf, None), **span))
        policed.refused("pull", name, words="CN=leaf,O=Team,ST=HH,C=DE has been revoked")
        (tmp_path / "ca.crl").write_bytes(crl(**span))
        policed.engine.ok("pull", name)
        (tmp_path / "ca.crl").unlink()
        assert policed.engine.ok("run", "--rm", name, "echo", "noted") == "noted"
        # Another level is another rule: asked anew, and what it finds is logged, not enforced.
        policed.rules(listed={**rule, "level": "permissive"})
        assert policed.engine.ok("run", "--rm", name, "echo", "logged") == "logged"
        assert "revocation: whether the certificate of CN=leaf" in policed.engine.log.read_text()
        policed.rules(listed={**rule, "override": {"expiry": "log"}})
        policed.refused("run", "--rm", name, words="can't be found out")
    policed.engine.ok("rmi", name)


def test_notation_audits_and_skips(policed: Policed, tmp_path: Path) -> None:
    """``audit`` lets through what is not signed, and logs it; not what is signed as something else."""
    root = makers.Authority.root()
    (tmp_path / "root.crt").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    digest = policed.push("audited/app:1")
    name = f"{policed.place.address}/audited/app:1"
    audit = {"type": "notation", "trust-store": str(tmp_path), "level": "audit"}
    policed.rules(audited=audit)
    policed.engine.ok("pull", name)
    assert f"{name.rpartition(':')[0]}@{digest}: it is not signed" in policed.engine.log.read_text()
    policed.attach("audited/app", digest, notation.ARTIFACT, makers.jws([root.issue("x"), root]), notation.JWS)
    policed.refused("pull", name, words="(notation: audit): no matching signatures: it signs sha256:")
    policed.rules(audited={"type": "notation", "level": "skip"})
    policed.engine.ok("pull", name)
    policed.engine.ok("rmi", name)


def test_keyless(policed: Policed, tmp_path: Path) -> None:
    """Bundles that refer to the image, as of cosign 3, and annotations under its tag, as of those before."""
    try:
        importlib.import_module("sigstore")
    except ImportError:
        lacking("the sigstore package is not installed")
    sigstore = SigstoreSite()
    (tmp_path / "root.json").write_bytes(sigstore.trusted_root())
    rule = {"type": "cosign", "identity": IDENTITY, "issuer": ISSUER, "trust-root": str(tmp_path / "root.json")}
    for scope in ("bundled", "tagged"):
        digest = policed.push(f"{scope}/app:1")
        name = f"{policed.place.address}/{scope}/app:1"
        policed.rules(**{scope: rule})
        policed.refused("pull", name, words=f"(cosign: {IDENTITY} by {ISSUER}): no matching signatures: it is not sig")
        for identity in ("mallory@org.example", IDENTITY):
            signer = sigstore.signer(identity)
            if scope == "bundled":
                data = json.dumps(sigstore.bundle(signer, statement(digest))).encode()
                policed.attach(f"{scope}/app", digest, BUNDLE, data, BUNDLE)
            else:
                payload = cosign.simple_payload(f"{policed.place.address}/{scope}/app", digest)
                policed.sign_under_tag(f"{scope}/app", digest, payload, sigstore.simple(signer, payload))
            if identity != IDENTITY:
                policed.refused("pull", name, words="is not believed: Certificate's SANs do not match")
        policed.engine.ok("pull", name)
        assert policed.engine.ok("run", "--rm", name, "echo", "signed") == "signed"
        policed.rules(**{scope: {**rule, "issuer": "https://other.example"}})
        policed.refused("run", "--rm", name, words="does not match")
        policed.engine.ok("rmi", name)


def test_a_policy_that_breaks_or_goes_away(policed: Policed) -> None:
    """Nothing is let through, and the engine does not start again without its policy."""
    good = policed.file.read_text()
    try:
        for damage in ("{", '{"default": {"type": "maybe"}}'):
            policed.file.write_text(damage)
            done = policed.engine.cli("run", "--rm", "busybox", "true")
            assert (done.returncode, f"trust policy {policed.file}: " in done.stderr) == (125, True)
            shown = policed.engine.cli("trust", "policy", "--file", str(policed.file))
            assert (shown.returncode, shown.stderr.startswith(f"trust policy {policed.file}: ")) == (1, True)
        policed.file.unlink()
        assert policed.engine.cli("run", "--rm", "busybox", "true").returncode == 125
        second = policed.directory / "second"
        second.mkdir()
        with pytest.raises(AssertionError, match="no such file or directory"):
            Engine(["--trust-policy", str(policed.file)], directory=second).start()
    finally:
        policed.file.write_text(good)
    assert policed.engine.ok("run", "--rm", "busybox", "echo", "back") == "back"


def test_info_names_the_policy(policed: Policed) -> None:
    found = json.loads(policed.engine.ok("info", "--format", "{{json .SecurityOptions}}"))
    assert f"name=trust,profile={policed.file}" in found
    assert f"  trust\n   Profile: {policed.file}\n" in policed.engine.ok("info")


def test_what_the_policy_says(policed: Policed, tmp_path: Path) -> None:
    key = tmp_path / "k.pub"
    key.write_text("key")
    policed.rules(a={"type": "dct"}, b={"type": "cosign", "keys": [str(key)]})
    place, flags = policed.place.address, ["--file", str(policed.file)]
    listed = [line.split(maxsplit=1) for line in policed.engine.ok("trust", "policy", *flags).splitlines()]
    assert listed == [
        ["SCOPE", "RULE"],
        [f"{place}/a", "dct"],
        [f"{place}/b", "cosign: 1 key"],
        ["(default)", "accept-unsigned"],
    ]
    asked = policed.engine.ok("trust", "policy", *flags, f"{place}/b/app", "debian").splitlines()[1:]
    assert [line.split(maxsplit=1) for line in asked] == [
        [f"{place}/b/app", "cosign: 1 key"],
        ["debian", "accept-unsigned"],
    ]
